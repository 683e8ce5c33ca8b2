#pragma once
// Is a training set fit for use, and is what it is tested on really unseen?

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace wavllm {

struct DataCheckOptions {
    std::vector<std::filesystem::path> train, valid, test;
    /// A speaker's name counts within its corpus only. By default the same name in two corpora is taken for one person:
    /// a false alarm is seen and can be answered, a leak that was missed is never seen.
    bool speakers_by_corpus = false;
    /// Called with rows looked at and rows in all.
    std::function<void(int64_t done, int64_t total)> progress;
};

/// Something that is wrong with one row.
struct DataProblem {
    enum class Kind { speaker_leak, text_leak, audio_leak, unreadable, wrong_length, empty_text, duplicate_id };
    Kind kind{};
    std::string where, id;  ///< "manifest:line" and id of the row
    std::string what;       ///< one sentence: expected, found, and the other row
};
const char* name_of(DataProblem::Kind kind);

struct SplitSummary {
    std::string name;
    int64_t rows = 0, speakers = 0, rows_without_speaker = 0, word_types = 0, words = 0;
    double hours = 0, longest = 0;     ///< longest clip, in seconds
    std::vector<std::string> sources;  ///< corpora
};

struct DataCheckReport {
    std::array<SplitSummary, 3> splits;  ///< train, valid, test
    std::vector<DataProblem> problems;   ///< leaks first; in the order of the manifests within a kind
    double seconds = 0;
};

/// Looks at every row: the file opens and decodes (its part, where the row names one), n_frames is its length at
/// kSampleRate (one sample more or less is rounding), the text is not empty, ids are not repeated within a split. And
/// at every pair of splits:
/// - speakers: of the same corpus ("source" up to its first '/'), or of the same name anywhere (see the option). A name
///   that joins two by '|' stands for both. Copies made by augment keep their speaker. Rows without one are counted.
/// - texts: any run of four words (comparison_words); answers shorter than four words, such as digits, have none.
/// - audio: the SHA-256 of the samples at kSampleRate: the same recording under another name, or in another lossless
///   format.
/// Problems are reported, not thrown; FileError only for a manifest that cannot be read.
DataCheckReport check_data(const DataCheckOptions& options);

/// "librispeech" for a row whose source column says "librispeech/clean"; lower-case; "" if there is none.
std::string corpus_of(const std::string& source);

}  // namespace wavllm
