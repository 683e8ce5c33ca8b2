#pragma once
// Speech from sentences: a training manifest, and perhaps one for validation, with their audio.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/synth/effects.h"

namespace wavllm {

inline constexpr const char* kTranscriptionPrompt =
    "Based on the attached audio, generate a comprehensive text transcription of the spoken content.";
inline constexpr const char* kDigitPrompt = "Which digit is spoken in the audio clip? Answer with one English word.";

struct SynthOptions {
    std::filesystem::path text;                  ///< sentences; may be empty if only digits are wanted
    std::filesystem::path out;                   ///< folder for train.tsv, valid.tsv and audio/
    std::vector<std::filesystem::path> exclude;  ///< manifests whose texts must not be spoken
    double hours = 0;                            ///< of training speech; or
    int64_t clips = 0;                           ///< so many clips
    int64_t digits = 0;                          ///< clips of one digit, besides
    uint64_t seed = 1;
    double min_seconds = 1, max_seconds = 30;
    std::string voices = "all";            ///< see find_voices
    double slowest = 0.8, fastest = 1.28;  ///< tempo; read speech (LibriSpeech) is around 0.75
    double flite_share = 0.65;             ///< of the clips, where both engines have a voice in the list
    EffectShares effects;
    double valid_share = 0;                 ///< validation speech besides, as a share of the training speech
    std::map<std::string, double> sources;  ///< weights of the text's sources, default 1
    int jobs = 1;
};

struct SynthReport {
    struct Set {
        std::filesystem::path manifest;
        int64_t clips = 0, made = 0, dropped = 0, words = 0, word_types = 0, voices = 0;
        double hours = 0, below_8s = 0;  ///< below_8s: share of the clips
    };
    std::vector<Set> sets;                                        ///< valid first if it was wanted, then train
    size_t read = 0, unreadable = 0, repeated = 0, excluded = 0;  ///< sentences
    int passes = 0;                                               ///< how often all sentences were used up
    double seconds = 0;
};

/// Makes what is wanted and writes the manifests: the columns of the project's other manifests, and `voice`. The same
/// options and engine versions give the same files, byte for byte, for any number of jobs. Audio that is there is not
/// made again, so a job that was killed goes on where it was.
/// Validation clips have voices and sentences of their own: all voices that come from one of flite's and about a tenth
/// of espeak's are theirs alone, and training clips share no run of four words with their texts.
/// Throws UsageError for options that do not fit together, FileError.
SynthReport synthesize(const SynthOptions& options);

}  // namespace wavllm
