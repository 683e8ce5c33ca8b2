#pragma once
// One manifest into training, validation and test, by speaker and text.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace wavllm {

struct SplitOptions {
    std::vector<std::filesystem::path> manifests;
    std::filesystem::path out;             ///< folder for train.tsv, valid.tsv and test.tsv
    std::vector<std::string> test, valid;  ///< speakers, as "name" or, where names repeat, "corpus/name"
    bool plain = false;                    ///< texts in LibriSpeech's form: see plain_text
};

struct SplitReport {
    struct Part {
        std::filesystem::path manifest;
        int64_t rows = 0, speakers = 0;
        int64_t dropped = 0;  ///< rows left out for a run of four words that a split more worth keeping has too
        double hours = 0;     ///< of rows that give n_frames
    };
    Part train, valid, test;
};

/// Rows of the named speakers go to test and validation, all others to training. A training row that shares a run of
/// four words with validation or test is left out, and so is a validation row that shares one with test: `data check`
/// passes. audio stays where it is. Throws UsageError for a speaker who is not there (with the nearest name) or stands
/// in both lists, or a part without rows; FileError.
SplitReport split_manifest(const SplitOptions& options);

}  // namespace wavllm
