#pragma once
// Decoding token by token with a KV cache, greedily or by drawing, for a batch of requests of different lengths. A
// request's tokens do not depend on what else is in the batch. Beam search: infer/beam_search.h.

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "infer/decode_step.h"
#include "kernels/sample/sample.h"
#include "models/llama/llama.h"

namespace wavllm {

struct GenerateOptions {
    int64_t max_new_tokens = 128;
    int32_t eos = -1;                     ///< ends a request; it is the last token returned. -1: none
    const Lora* lora = nullptr;           ///< null: the base model
    LoraRun run{};                        ///< of lora; its r, if any, with one row a request
    bool log_probs = false;               ///< also return the log-probability of each token
    Sampling sampling{.temperature = 0};  ///< 0: greedy
    /// Each request's own number, which its random numbers belong to: give it the same number in every batch. Needed
    /// to draw; greedy decoding does without.
    std::vector<int64_t> keys{};
    std::vector<int64_t> limits{};  ///< of new tokens, each request's own, at most max_new_tokens; empty: that for all
    Graphs graphs = Graphs::automatic;
    /// Called for every token as it comes, EOS included; return false to stop that request.
    std::function<bool(size_t request, int32_t token)> on_token{};
};

struct Generated {
    std::vector<int32_t> tokens;
    std::vector<double> log_probs;
};

/// x: [T, dim] input embeddings of all requests end to end; borders: i64 [B+1]. `cache` has batch B and room for every
/// request's rows and max_new_tokens; what it already holds comes before x (a conversation). The last token generated
/// is not in the cache. Throws ShapeError if a request has no rows or if keys or limits are not one a request, Error for
/// logits that cannot be drawn from (NaN).
std::vector<Generated> generate(const Llama& llama, const Tensor& x, const Tensor& borders, KvCache& cache,
                                const GenerateOptions& options);
/// The same with a cache of its own.
std::vector<Generated> generate(const Llama& llama, const Tensor& x, const Tensor& borders,
                                const GenerateOptions& options);
/// The same, greedily whatever options.sampling says.
std::vector<Generated> generate_greedy(const Llama& llama, const Tensor& x, const Tensor& borders, KvCache& cache,
                                       GenerateOptions options);
std::vector<Generated> generate_greedy(const Llama& llama, const Tensor& x, const Tensor& borders,
                                       GenerateOptions options);

/// Index of each sequence's last row, i32 [S]. Throws ShapeError naming `what` for a sequence without rows.
Tensor last_rows(std::span<const int64_t> borders, std::string_view what);
/// Throws Error if a prompt of so many rows and so many new tokens exceed the model's positions.
void expect_positions(const Llama& llama, int64_t prompt, int64_t new_tokens);

/// Index of the largest of n values, the first one if several are equal; NaN is never the largest, 0 if there is none.
int32_t argmax(const float* values, int64_t n);
/// log softmax(values)[index], in double.
double log_softmax_at(const float* values, int64_t n, int64_t index);
/// The same of a row of logits [N, V] on the CPU, f32 or f64.
int32_t argmax_of_row(const Tensor& logits, int64_t row);
double log_softmax_of_row(const Tensor& logits, int64_t row, int64_t index);

}  // namespace wavllm
