// The speech that ships with the project: every clip opens and is as long as its manifest says (the lengths were
// measured by other software when the data was collected), no speaker is in two parts of the digits, and the folder
// stays small.
#include <doctest/doctest.h>

#include <filesystem>
#include <set>

#include "data/audio.h"
#include "data/manifest.h"
#include "tests/support/shared.h"

using namespace wavllm;

namespace {

const std::filesystem::path kSamples = std::filesystem::path(WAVLLM_SOURCE_DIR) / "samples";

std::set<std::string> speakers_of(const std::vector<ManifestRow>& rows) {
    std::set<std::string> speakers;
    for (const ManifestRow& row : rows) speakers.insert(row.speaker);
    return speakers;
}

}  // namespace

TEST_CASE("samples: every clip opens, has the length its manifest says, and is not silent") {
    std::set<std::filesystem::path> used;
    for (const char* name : {"digits_train.tsv", "digits_valid.tsv", "digits_test.tsv", "speech_train.tsv",
                             "speech_valid.tsv", "speech_test.tsv", "sentences.tsv", "half_minute.tsv"}) {
        const std::vector<ManifestRow> rows = read_manifest(kSamples / name);
        CHECK_NOTHROW(check_audio_exists(rows));
        for (const ManifestRow& row : rows) {
            CAPTURE(row.id);
            const std::vector<float> samples = read_audio(row.audio.string());
            CHECK(static_cast<int64_t>(samples.size()) == row.n_frames);
            float peak = 0;
            for (float sample : samples) peak = std::max(peak, std::abs(sample));
            CHECK(peak > 0.003f);  // some recordings of FLEURS are that quiet
            CHECK(peak < 1.2f);
            CHECK_FALSE(row.prompt.empty());
            CHECK_FALSE(row.tgt_text.empty());
            CHECK_FALSE(row.extra.at("licence").empty());
            // no clip twice, but for the sentences, of which the parts of the speech use some
            CHECK((used.insert(row.audio).second || std::string(name) == "sentences.tsv"));
        }
    }
    for (const char* folder : {"digits", "sentences", "speech"})
        for (const auto& file : std::filesystem::directory_iterator(kSamples / folder))
            CHECK(used.count(file.path()) == 1);
}

TEST_CASE("samples: the parts of the digits share no speaker, and every word comes equally often") {
    const auto train = read_manifest(kSamples / "digits_train.tsv");
    const auto valid = read_manifest(kSamples / "digits_valid.tsv");
    const auto test = read_manifest(kSamples / "digits_test.tsv");
    CHECK(train.size() == 400);
    CHECK(valid.size() == 100);
    CHECK(test.size() == 100);
    CHECK(speakers_of(train) == std::set<std::string>{"george", "jackson", "lucas", "nicolas"});
    CHECK(speakers_of(valid) == std::set<std::string>{"yweweler"});
    CHECK(speakers_of(test) == std::set<std::string>{"theo"});
    const char* words[] = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"};
    for (const auto* part : {&train, &valid, &test}) {
        std::map<std::string, size_t> count;
        for (const ManifestRow& row : *part) {
            ++count[row.tgt_text];
            // the file name begins with the digit and goes on with the speaker
            const std::string file = row.audio.filename().string();
            CHECK(row.tgt_text == words[file.at(0) - '0']);
            CHECK(file.find("_" + row.speaker + "_") == 1);
            CHECK(row.prompt == "Which digit is spoken in the audio clip? Answer with one English word.");
        }
        CHECK(count.size() == 10);
        for (const auto& [word, n] : count) CHECK(n == part->size() / 10);
    }
}

TEST_CASE("samples: the parts of the speech share no speaker and no recording, and test has all lengths") {
    std::map<std::string, std::string> part_of;  // speaker or file -> part
    for (const char* name : {"speech_train.tsv", "speech_valid.tsv", "speech_test.tsv"})
        for (const ManifestRow& row : read_manifest(kSamples / name)) {
            CHECK(part_of.emplace(row.speaker, name).first->second == name);
            CHECK(part_of.emplace(row.audio.string(), name).first->second == name);
        }
    const auto test = read_manifest(kSamples / "speech_test.tsv");
    CHECK(speakers_of(test).size() == 12);
    int64_t below_8s = 0;
    for (const ManifestRow& row : test) below_8s += *row.n_frames <= 8 * kSampleRate;
    CHECK(below_8s == 42);
    CHECK(test.size() == 69);
}

TEST_CASE("samples: the digits are bit for bit the recordings of the data set") {
    for (const char* name : {"digits_train.tsv", "digits_valid.tsv", "digits_test.tsv"}) {
        for (const ManifestRow& row : read_manifest(kSamples / name)) {
            CAPTURE(row.id);
            const std::string original = "data/speech/fsdd/" + row.audio.stem().string() + ".wav";
            const bool same =
                read_audio(row.audio.string(), 8000) == read_audio(tests::shared(original).string(), 8000);
            CHECK(same);
        }
    }
}

TEST_CASE("samples: at least ten readers of sentences, 2 to 12 s each") {
    const auto rows = read_manifest(kSamples / "sentences.tsv");
    CHECK(rows.size() == 51);
    CHECK(speakers_of(rows).size() >= 10);
    for (const ManifestRow& row : rows) {
        CHECK(*row.n_frames >= 2 * kSampleRate);
        CHECK(*row.n_frames <= 12 * kSampleRate);
    }
}

TEST_CASE("samples: licences are there and the folder is at most 30 MB") {
    for (const char* file : {"CC-BY-4.0.txt", "CC-BY-SA-4.0.txt", "LibriSpeech-LICENSE.txt", "SpeechT5-MIT.txt",
                             "pocketsphinx-BSD-2-Clause.txt"})
        CHECK(std::filesystem::file_size(kSamples / "licences" / file) > 100);
    CHECK(std::filesystem::exists(kSamples / "README.md"));
    uintmax_t bytes = 0;
    for (const auto& file : std::filesystem::recursive_directory_iterator(kSamples))
        if (file.is_regular_file()) bytes += file.file_size();
    CHECK(bytes <= 30'000'000);
}
