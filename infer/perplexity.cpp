#include "infer/perplexity.h"

#include <algorithm>
#include <cmath>

#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace wavllm {

double Perplexity::value() const {
    return std::exp(nats / static_cast<double>(tokens));
}

Perplexity perplexity(const Llama& llama, std::span<const int32_t> ids, int64_t window,
                      const std::function<void(int64_t done)>& progress) {
    const auto count = static_cast<int64_t>(ids.size());
    if (window < 2 || window > llama.config().max_positions)
        throw UsageError("perplexity: a window of {} tokens; it can have 2 to {}, the model's positions", window,
                         llama.config().max_positions);
    if (count < 2) throw UsageError("perplexity: a text of {} tokens; there is nothing to foresee", count);
    const NoGrad no_grad;
    Perplexity result;
    for (int64_t begin = 0; begin + 1 < count; begin += window) {
        const int64_t n = std::min(window, count - begin), rows[] = {n};
        const auto part = [&](int64_t first, int64_t length) {
            return Tensor::from(std::vector<int32_t>(ids.begin() + begin + first, ids.begin() + begin + first + length),
                                {length});
        };
        LlamaPass pass;
        pass.borders = kernels::make_borders(rows);
        pass.positions = LlamaPass::positions_for(pass.borders);
        const Tensor h = llama.final_norm(llama.forward(llama.embed(part(0, n)), pass));
        const Tensor losses =
            kernels::cross_entropy(h.slice(0, 0, n - 1), llama.head(), part(1, n - 1), 1, /*want_dx=*/false).losses;
        for (const double loss : losses.values()) result.nats += loss;
        result.tokens += n - 1;
        if (progress) progress(begin + n);
    }
    return result;
}

}  // namespace wavllm
