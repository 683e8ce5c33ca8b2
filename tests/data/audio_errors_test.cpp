// Sound files from strangers: each damage gives one clear line. Witness: files damaged by hand, byte by byte.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <limits>

#include "data/audio.h"
#include "tensor/error.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

std::string bytes_of(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::string number(uint32_t value, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += static_cast<char>(value >> (8 * i));
    return out;
}

std::string wav(int format, int channels, int rate, int bits, const std::string& samples, uint32_t announced) {
    return "RIFF" + number(static_cast<uint32_t>(36 + samples.size()), 4) + "WAVEfmt " + number(16, 4) +
           number(static_cast<uint32_t>(format), 2) + number(static_cast<uint32_t>(channels), 2) +
           number(static_cast<uint32_t>(rate), 4) +
           number(static_cast<uint32_t>(rate) * static_cast<uint32_t>(channels * bits / 8), 4) +
           number(static_cast<uint32_t>(channels * bits / 8), 2) + number(static_cast<uint32_t>(bits), 2) + "data" +
           number(announced, 4) + samples;
}

/// What the reader says; the message must be one line that begins with the file's name.
std::string message(const std::string& path) {
    try {
        read_audio(path);
    } catch (const FileError& error) {
        const std::string text = error.what();
        CHECK(text.find('\n') == std::string::npos);
        CHECK(text.rfind(path == "-" ? "standard input" : path, 0) == 0);
        return text;
    }
    return "no error";
}

bool says(const std::string& text, const std::string& part) {
    CAPTURE(text);
    CAPTURE(part);
    const bool found = text.find(part) != std::string::npos;
    CHECK(found);
    return found;
}

/// The MP3 decoder reports every damaged frame on stderr by itself; that would bury the results of the tests.
struct QuietStderr {
    int saved = dup(2);
    QuietStderr() {
        const int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, 2);
        close(nowhere);
    }
    ~QuietStderr() {
        dup2(saved, 2);
        close(saved);
    }
};

/// Runs the body with stdin coming from a file.
void with_stdin(const std::string& path, const std::function<void()>& body) {
    const int saved = dup(0);
    const int file = open(path.c_str(), O_RDONLY);
    REQUIRE(file >= 0);
    dup2(file, 0);
    close(file);
    try {
        body();
    } catch (...) {
        dup2(saved, 0), close(saved);
        throw;
    }
    dup2(saved, 0);
    close(saved);
}

}  // namespace

TEST_CASE("audio errors: missing, folder, empty, text, no samples") {
    const TempFolder folder;
    says(message((folder.path() / "none.wav").string()), "No such file");
    says(message(folder.path().string()), "is a folder");
    says(message(folder.write("empty.wav", "")), "is empty (0 bytes)");
    says(message(folder.write("text.wav", "This is a text file that somebody renamed.\n")),
         "is not a wav, flac, ogg or mp3 file");
    says(message(folder.write("one.wav", "R")), "is not a wav, flac, ogg or mp3 file");
    says(message(folder.write("none.wav", wav(1, 1, 16000, 16, "", 0))), "holds no samples");
}

TEST_CASE("audio errors: a file that may not be read") {
    const TempFolder folder;
    std::filesystem::permissions(folder.path(), std::filesystem::perms::all);  // the file refuses, not its folder
    const std::string path = folder.write("secret.wav", wav(1, 1, 16000, 16, std::string(8, 0), 8));
    REQUIRE(chmod(path.c_str(), 0) == 0);
    const bool root = geteuid() == 0;  // root may read everything, so the reader runs as nobody
    if (root) REQUIRE(seteuid(65534) == 0);
    const std::string text = message(path);
    if (root) REQUIRE(seteuid(0) == 0);
    says(text, "Permission denied");
}

TEST_CASE("audio errors: cut files of every container") {
    const QuietStderr quiet;
    const TempFolder folder;
    for (const char* name : {"jfk-16k-mono.mp3", "jfk-44k-stereo.flac", "jfk-16k-vorbis.ogg", "fleurs-en-1904-opus.ogg",
                             "LJ001-0002-22k.wav", "LJ001-0002-22k.mp3"}) {
        const std::string whole = bytes_of(tests::shared(std::string("data/speech/misc/formats/") + name));
        for (double share : {0.0005, 0.01, 0.5, 0.999}) {
            CAPTURE(name);
            CAPTURE(share);
            const size_t n = static_cast<size_t>(static_cast<double>(whole.size()) * share) + 1;
            CHECK(message(folder.write(std::string("cut-") + name, whole.substr(0, n))) != "no error");
        }
    }
    // an ogg file cut exactly between two pages has no broken page, but no end mark either
    const std::string ogg = bytes_of(tests::shared("data/speech/misc/formats/jfk-16k-vorbis.ogg"));
    says(message(folder.write("page.ogg", ogg.substr(0, ogg.rfind("OggS")))), "not marked as the end");
}

TEST_CASE("audio errors: header lengths that the file does not have") {
    const TempFolder folder;
    const std::string samples(64, '\x11');
    says(message(folder.write("long.wav", wav(1, 1, 16000, 16, samples, 4000000000u))), "announces 4000000000 bytes");
    says(message(folder.write(
             "chunk.wav", wav(1, 1, 16000, 16, samples, 64).replace(36, 4, "LIST").replace(40, 4, "\xff\xff\xff\xff"))),
         "chunk 'LIST' announces 4294967295 bytes, 64 are left");
    says(message(folder.write("rate.wav", wav(1, 1, 7, 16, samples, 64))), "sample rate of 7 Hz");
    says(message(folder.write("fast.wav", wav(1, 1, 900000, 16, samples, 64))), "sample rate of 900000 Hz");
    CHECK(message(folder.write("channels.wav", wav(1, 0, 16000, 16, samples, 64))) != "no error");
    CHECK(message(folder.write("wide.wav", wav(1, 65535, 16000, 16, samples, 64))) != "no error");
    // flac: STREAMINFO announces 2^36 - 1 samples
    std::string flac = bytes_of(tests::shared("data/speech/misc/formats/jfk-44k-stereo.flac"));
    flac[21] = static_cast<char>(flac[21] | 0x0f);
    for (size_t i = 22; i < 26; ++i) flac[i] = '\xff';
    CHECK(message(folder.write("endless.flac", flac)) != "no error");
    // programs that write to a pipe leave the length open; the samples are all there
    for (uint32_t open_length : {0xFFFFFFFFu, 0x7FFFF000u, 0x80000000u}) {
        CAPTURE(open_length);
        CHECK(read_audio(folder.write("pipe.wav", wav(1, 1, 16000, 16, samples, open_length))).size() == 32);
    }
}

TEST_CASE("audio errors: NaN and infinite samples of float wavs") {
    const TempFolder folder;
    for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
        std::string samples(10 * 4, '\0');
        std::memcpy(samples.data() + 7 * 4, &bad, 4);
        says(message(folder.write("bad.wav", wav(3, 1, 16000, 32, samples, 40))), "sample 7 is NaN or infinite");
        says(message(folder.write("bad2.wav", wav(3, 2, 44100, 32, samples, 40))), "sample 3 is NaN or infinite");
    }
    const float quiet = -0.125f;
    std::string sample(4, '\0');
    std::memcpy(sample.data(), &quiet, 4);
    CHECK(read_audio(folder.write("good.wav", wav(3, 1, 16000, 32, sample, 4))) == std::vector<float>{quiet});
}

TEST_CASE("audio errors: damaged bytes never crash") {
    const QuietStderr quiet;
    const TempFolder folder;
    for (const char* name : {"jfk-16k-mono.mp3", "jfk-16k-vorbis.ogg", "fleurs-en-1904-opus.ogg", "jfk-44k-stereo.flac",
                             "LJ001-0002-22k.wav"}) {
        const std::string whole =
            bytes_of(tests::shared(std::string("data/speech/misc/formats/") + name)).substr(0, 30000);
        uint32_t state = 12345;
        for (int trial = 0; trial < 20; ++trial) {
            std::string damaged = whole;
            for (int k = 0; k < 8; ++k) {
                state = state * 1664525u + 1013904223u;
                damaged[(state >> 8) % (trial < 10 ? 200 : damaged.size())] = static_cast<char>(state >> 24);
            }
            message(folder.write("damaged", damaged));  // either outcome is right; a crash ends the test program
        }
    }
}

TEST_CASE("audio: stdin gives the same samples as the file") {
    for (const char* name : {"jfk-16k-mono.mp3", "jfk-44k-stereo.flac", "fleurs-en-1904-opus.ogg"}) {
        CAPTURE(name);
        const std::string path = tests::shared(std::string("data/speech/misc/formats/") + name).string();
        std::vector<float> piped;
        with_stdin(path, [&] { piped = read_audio("-"); });
        CHECK(piped == read_audio(path));
    }
    const TempFolder folder;
    with_stdin(folder.write("nothing", ""), [&] { says(message("-"), "standard input: is empty"); });
}
