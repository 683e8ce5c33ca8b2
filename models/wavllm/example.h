#pragma once
// One clip with its instruction and answer, ready for the model; and batches of them.

#include <span>
#include <string>

#include "models/wavllm/wavllm.h"

namespace wavllm {

struct SpeechExample {
    std::string id;
    PromptIds ids;          ///< target empty where there is none
    std::string reference;  ///< the target as text
    Tensor features;        ///< [T, C] of the frozen encoder; undefined for a text-only example
    std::vector<int64_t>
        chunk_rows;      ///< rows of each 30 s chunk: the subsampling convolutions do not reach across them
    int64_t key = 0;     ///< its own number (below 2^22): dropout masks belong to it
    double seconds = 0;  ///< of audio
};

/// Pointers to all examples or, if most > 0, to at most so many, spread over the set: a part that has all its speakers and lengths.
std::vector<const SpeechExample*> pointers_to(std::span<const SpeechExample> examples, size_t most = 0);

/// Lays the examples end to end. with_targets: for training; otherwise the sequences end after the right prompt.
SpeechBatch make_batch(std::span<const SpeechExample* const> examples, bool with_targets);

}  // namespace wavllm
