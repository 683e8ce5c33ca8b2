#pragma once
// How well a language model foresees a text: what its frozen weights' format costs, in one number.

#include <functional>
#include <span>

#include "models/llama/llama.h"

namespace wavllm {

struct Perplexity {
    double nats = 0;     ///< sum of -log p over the tokens that were foreseen
    int64_t tokens = 0;  ///< how many those are
    /// exp of the mean.
    double value() const;
};

/// The text in windows of `window` tokens, one after the other without overlap; in each all tokens but the first are foreseen
/// from those before them in the window. No BOS is put in front. Windows are summed in order, in f64. Throws UsageError for
/// a window of fewer than two tokens or longer than the model's positions, or a text of fewer than two.
Perplexity perplexity(const Llama& llama, std::span<const int32_t> ids, int64_t window,
                      const std::function<void(int64_t done)>& progress = {});

}  // namespace wavllm
