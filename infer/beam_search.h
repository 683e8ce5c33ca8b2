#pragma once
// Beam search with a KV cache for each beam. It finds what Hugging Face's `generate` finds with the same beams, length
// penalty and early_stopping = False.

#include <functional>
#include <span>
#include <vector>

#include "models/llama/llama.h"

namespace wavllm {

struct BeamOptions {
    int64_t beams = 4;
    double length_penalty =
        1;  ///< a text of n tokens scores log p / n^length_penalty: 0 favours short ones, 2 long ones
    int64_t max_new_tokens = 128;
    int32_t eos = -1;
    const Lora* lora = nullptr;
    LoraRun run{};  ///< of lora; its r, if any, with one row a request
    /// Sees the beams of a request after each step, the best first: from which beam of the step before each comes, its
    /// last token, its log-probability.
    std::function<void(size_t request, std::span<const int32_t> parents, std::span<const int32_t> tokens,
                       std::span<const double> log_probs)>
        on_step{};
};

struct Hypothesis {
    std::vector<int32_t> tokens;  ///< EOS last, unless it was cut
    double log_prob = 0;          ///< sum over its tokens
    double score = 0;             ///< log_prob / n^length_penalty
};

/// Each step takes the 2 * beams likeliest continuations of a request. Of these, an EOS among the first `beams` closes a
/// text (a later one is dropped), and the others in their order become the new beams. The best `beams` texts are kept. A
/// request ends when it has so many and the worst of them scores no less than the likeliest continuation would if it
/// ended there, or after max_new_tokens, where the beams that are alive become texts too.
///
/// x: [T, dim] input embeddings of all requests end to end; borders: i64 [R+1]. Returns each request's texts, the best
/// first; they do not depend on what else is in the batch. Throws ShapeError for a request without rows, UsageError for
/// options that make no sense, Error for logits that are not numbers.
std::vector<std::vector<Hypothesis>> beam_search(const Llama& llama, const Tensor& x, const Tensor& borders,
                                                 const BeamOptions& options);

}  // namespace wavllm
