// Loader of sound files. Witnesses: the same recordings in other containers (made by other encoders and resamplers, see
// shared/data/speech/formats.tsv), analytic sine waves for the resampler, hand-computed samples for the scaling.
#include "data/audio.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <numbers>
#include <sstream>

#include "tensor/error.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

std::vector<float> sine(double frequency, int rate, size_t n) {
    std::vector<float> out(n);
    for (size_t i = 0; i < n; ++i)
        out[i] = static_cast<float>(
            0.5 * std::sin(2 * std::numbers::pi * frequency * static_cast<double>(i) / static_cast<double>(rate)));
    return out;
}

/// A wav file made byte by byte: format 1 = integer, 3 = float; `samples` are the raw bytes of the data chunk.
void write_wav_bytes(const std::string& path, int format, int channels, int rate, int bits,
                     const std::string& samples) {
    std::ofstream out(path, std::ios::binary);
    const auto number = [&](uint32_t value, int n) {
        for (int i = 0; i < n; ++i) out.put(static_cast<char>(value >> (8 * i)));
    };
    out << "RIFF", number(static_cast<uint32_t>(36 + samples.size()), 4), out << "WAVEfmt ", number(16, 4);
    number(static_cast<uint32_t>(format), 2), number(static_cast<uint32_t>(channels), 2);
    number(static_cast<uint32_t>(rate), 4),
        number(static_cast<uint32_t>(rate) * static_cast<uint32_t>(channels * bits / 8), 4);
    number(static_cast<uint32_t>(channels * bits / 8), 2), number(static_cast<uint32_t>(bits), 2);
    out << "data", number(static_cast<uint32_t>(samples.size()), 4), out << samples;
}

double correlation(const std::vector<float>& a, const std::vector<float>& b) {
    const size_t n = std::min(a.size(), b.size());
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; ++i) {
        ab += static_cast<double>(a[i]) * b[i], aa += static_cast<double>(a[i]) * a[i];
        bb += static_cast<double>(b[i]) * b[i];
    }
    return ab / std::sqrt(aa * bb);
}

}  // namespace

TEST_CASE("audio: every container, rate and channel count gives the same recording") {
    std::ifstream table(tests::shared("data/speech/formats.tsv"));
    std::string line;
    std::getline(table, line);
    int rows = 0;
    while (std::getline(table, line)) {
        std::vector<std::string> field;
        std::stringstream cells(line);
        for (std::string cell; std::getline(cells, cell, '\t');) field.push_back(cell);
        CAPTURE(field[0]);
        const std::vector<float> loaded = read_audio(tests::shared("data/speech/" + field[0]).string());
        const std::vector<float> counterpart = read_audio(tests::shared("data/speech/" + field[7]).string());
        CHECK(loaded.size() == std::stoul(field[6]));
        CHECK(counterpart.size() == std::stoul(field[6]));
        const bool lossless = field[1] == "WAV" || field[1] == "FLAC";
        CHECK(correlation(loaded, counterpart) > (lossless ? 0.9995 : 0.97));
        ++rows;
    }
    CHECK(rows == 9);
}

TEST_CASE("audio: resampling follows the sine it was given, and removes what 16 kHz cannot hold") {
    const TempFolder folder;
    for (int rate : {8000, 11025, 22050, 44100, 48000, 96000}) {
        for (size_t extra : {0, 1, 2, 7}) {
            CAPTURE(rate);
            CAPTURE(extra);
            const size_t n = static_cast<size_t>(rate) / 4 + extra;
            write_wav16(folder / "tone.wav", sine(1000, rate, n), rate);
            const std::vector<float> got = read_audio(folder / "tone.wav");
            const size_t expected = (n * 16000 + static_cast<size_t>(rate) - 1) / static_cast<size_t>(rate);
            REQUIRE(got.size() == expected);
            const std::vector<float> want = sine(1000, 16000, expected);
            double worst = 0;  // away from the ends, where the tone starts and stops
            for (size_t i = 400; i + 400 < got.size(); ++i)
                worst = std::max(worst, static_cast<double>(std::abs(got[i] - want[i])));
            CHECK(worst < 6e-5);  // 16-bit quantisation of the input is 1.5e-5
        }
    }
    write_wav16(folder / "high.wav", sine(9500, 48000, 48000), 48000);
    const std::vector<float> silence = read_audio(folder / "high.wav");
    for (size_t i = 400; i + 400 < silence.size(); ++i) REQUIRE(std::abs(silence[i]) < 6e-5f);
}

TEST_CASE("audio: resampling a clip that needs many blocks keeps phase and length") {
    const TempFolder folder;
    write_wav16(folder / "long.wav", sine(440, 44100, 44100 * 20 + 3), 44100);
    const std::vector<float> got = read_audio(folder / "long.wav");
    REQUIRE(got.size() == 16000 * 20 + 2);  // ceil(3 * 16000 / 44100) = 2
    const std::vector<float> want = sine(440, 16000, got.size());
    for (size_t i = 400; i + 400 < got.size(); i += 7) REQUIRE(std::abs(got[i] - want[i]) < 6e-5f);
}

TEST_CASE("audio: 16-bit samples are s / 32768 exactly, and channels are averaged") {
    const TempFolder folder;
    write_wav_bytes(folder / "mono.wav", 1, 1, 16000, 16, std::string("\x00\x80\xff\x7f\x01\x00\x00\x40", 8));
    CHECK(read_audio(folder / "mono.wav") == std::vector<float>{-1.0f, 32767.0f / 32768, 1.0f / 32768, 0.5f});
    write_wav_bytes(folder / "stereo.wav", 1, 2, 16000, 16, std::string("\x00\x40\x00\x20\x00\xc0\x00\x40", 8));
    CHECK(read_audio(folder / "stereo.wav") == std::vector<float>{0.375f, 0.0f});
    write_wav_bytes(folder / "three.wav", 1, 3, 16000, 16, std::string("\x00\x10\x00\x20\x00\x30", 6));
    CHECK(read_audio(folder / "three.wav") == std::vector<float>{0.25f});
    // 8-bit wav is unsigned around 128
    write_wav_bytes(folder / "bytes.wav", 1, 1, 16000, 8, std::string("\x80\xc0\x00", 3));
    CHECK(read_audio(folder / "bytes.wav") == std::vector<float>{0.0f, 0.5f, -1.0f});
}

TEST_CASE("audio: write_wav16 rounds, clips, and reads back every 16-bit value") {
    const TempFolder folder;
    std::vector<float> all;
    for (int s = -32768; s < 32768; ++s) all.push_back(static_cast<float>(s) / 32768.0f);
    write_wav16(folder / "all.wav", all);
    CHECK(read_audio(folder / "all.wav") == all);
    write_wav16(folder / "loud.wav", std::vector<float>{2.0f, -2.0f, 0.6f / 32768, -0.4f / 32768});
    CHECK(read_audio(folder / "loud.wav") == std::vector<float>{32767.0f / 32768, -1.0f, 1.0f / 32768, 0.0f});
    CHECK_THROWS_AS(write_wav16(folder / "no/such/folder.wav", all), FileError);
    CHECK_THROWS_AS(write_wav16(folder / "nan.wav", std::vector<float>{std::nanf("")}), FileError);
}

TEST_CASE("audio: a span is cut after resampling") {
    const TempFolder folder;
    for (int rate : {16000, 22050}) {
        CAPTURE(rate);
        write_wav16(folder / "clip.wav", sine(300, rate, static_cast<size_t>(rate) * 6), rate);
        const std::vector<float> whole = read_audio(folder / "clip.wav");
        const std::vector<float> part = read_audio(folder / "clip.wav", 16000, {70001, 90002});
        CHECK(part == std::vector<float>(whole.begin() + 70001, whole.begin() + 90002));
        const std::vector<float> rest = read_audio(folder / "clip.wav", 16000, {95000});
        CHECK(rest == std::vector<float>(whole.begin() + 95000, whole.end()));
        CHECK(read_audio(folder / "clip.wav", 16000, {0, 96000}) == whole);
        CHECK_THROWS_AS(read_audio(folder / "clip.wav", 16000, {0, 96001}), FileError);
        CHECK_THROWS_AS(read_audio(folder / "clip.wav", 16000, {96000}), FileError);
        CHECK_THROWS_AS(read_audio(folder / "clip.wav", 16000, {5, 5}), FileError);
        CHECK_THROWS_AS(read_audio(folder / "clip.wav", 16000, {-1, 5}), FileError);
    }
    const std::string mp3 = tests::shared("data/speech/misc/formats/jfk-16k-mono.mp3").string();
    const std::vector<float> whole = read_audio(mp3);
    CHECK(read_audio(mp3, 16000, {50000, 60000}) == std::vector<float>(whole.begin() + 50000, whole.begin() + 60000));
    CHECK(read_audio(tests::shared("data/speech/misc/jfk.wav").string(), 8000).size() == 88000);
}
