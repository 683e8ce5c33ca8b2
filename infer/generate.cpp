#include "infer/generate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "autograd/ops/rows.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/common/simd.h"

namespace wavllm {

namespace {

/// Index of each request's last row.
Tensor last_rows(std::span<const int64_t> borders) {
    std::vector<int32_t> rows;
    for (size_t i = 1; i < borders.size(); ++i) {
        if (borders[i] == borders[i - 1]) throw ShapeError("generate: request {} has no rows", i - 1);
        rows.push_back(static_cast<int32_t>(borders[i] - 1));
    }
    return Tensor::from(rows, {static_cast<int64_t>(rows.size())});
}

}  // namespace

int32_t argmax(const float* values, int64_t n) {
    using namespace kernels;
    // the largest first, then where it stands: both without a branch an element
    vf top = broadcast(-std::numeric_limits<float>::infinity());
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) top = vmax(load(values + i), top);
    float largest = max(top);
    for (; i < n; ++i) largest = std::max(largest, values[i]);
    const float* found = std::find(values, values + n, largest);
    return found == values + n ? 0 : static_cast<int32_t>(found - values);
}

namespace {

int32_t argmax(const double* values, int64_t n) {
    const double* found = std::max_element(values, values + n);  // the first of the largest
    return found == values + n ? 0 : static_cast<int32_t>(found - values);
}

template <class T>
double log_softmax(const T* values, int64_t n, int64_t index) {
    const double top = *std::max_element(values, values + n);
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += std::exp(values[i] - top);
    return values[index] - top - std::log(sum);
}

}  // namespace

double log_softmax_at(const float* values, int64_t n, int64_t index) {
    return log_softmax(values, n, index);
}

int32_t argmax_of_row(const Tensor& logits, int64_t row) {
    const int64_t n = logits.dim(1);
    return logits.dtype() == DType::f64 ? argmax(logits.data<double>() + row * n, n)
                                        : argmax(logits.data<float>() + row * n, n);
}

double log_softmax_of_row(const Tensor& logits, int64_t row, int64_t index) {
    const int64_t n = logits.dim(1);
    return logits.dtype() == DType::f64 ? log_softmax(logits.data<double>() + row * n, n, index)
                                        : log_softmax(logits.data<float>() + row * n, n, index);
}

std::vector<Generated> generate_greedy(const Llama& llama, const Tensor& x, const Tensor& borders, KvCache& cache,
                                       const GenerateOptions& options) {
    NoGrad no_grad;
    const auto b = kernels::borders_of("generate", borders, x.dim(0));
    const size_t requests = b.size() - 1;
    std::vector<Generated> results(requests);
    std::vector<bool> done(requests, false);
    LlamaPass pass;
    pass.lora = options.lora;
    pass.run = options.run;
    pass.cache = &cache;
    pass.borders = borders;
    pass.positions = LlamaPass::positions_for(borders, &cache);
    Tensor h = gather_rows(llama.forward(x, pass), last_rows(b));

    std::vector<int64_t> one_each(requests, 1);
    const Tensor step_borders = kernels::make_borders(one_each);
    Tensor ids = Tensor::zeros({static_cast<int64_t>(requests)}, DType::i32);
    for (int64_t n = 0; n < options.max_new_tokens; ++n) {
        const Tensor logits = llama.logits(h).to(Device::cpu);
        int32_t* id = ids.mutable_data<int32_t>();
        for (size_t i = 0; i < requests; ++i) {
            if (done[i]) continue;
            const auto row = static_cast<int64_t>(i);
            id[i] = argmax_of_row(logits, row);
            results[i].tokens.push_back(id[i]);
            if (options.log_probs) results[i].log_probs.push_back(log_softmax_of_row(logits, row, id[i]));
            const bool go_on = !options.on_token || options.on_token(i, id[i]);
            done[i] = id[i] == options.eos || !go_on;
        }
        if (n + 1 == options.max_new_tokens || std::all_of(done.begin(), done.end(), [](bool d) { return d; })) break;
        pass.borders = step_borders;
        pass.positions = LlamaPass::positions_for(step_borders, &cache);
        std::vector<int64_t> held(requests);
        for (size_t i = 0; i < requests; ++i) held[i] = cache.length(static_cast<int64_t>(i));
        h = llama.forward(llama.embed(ids), pass);
        // A finished request goes through the motions until the others are done; what it writes is forgotten at once.
        for (size_t i = 0; i < requests; ++i)
            if (done[i]) cache.truncate(static_cast<int64_t>(i), held[i]);
    }
    return results;
}

std::vector<Generated> generate_greedy(const Llama& llama, const Tensor& x, const Tensor& borders,
                                       const GenerateOptions& options) {
    const auto b = kernels::borders_of("generate", borders, x.dim(0));
    int64_t longest = 0;
    for (size_t i = 1; i < b.size(); ++i) longest = std::max(longest, b[i] - b[i - 1]);
    const int64_t capacity = longest + options.max_new_tokens;
    if (capacity > llama.config().max_positions)
        throw Error(
            "generate: a prompt of {} tokens and {} new ones exceed the model's {} positions; ask for fewer new tokens",
            longest, options.max_new_tokens, llama.config().max_positions);
    KvCache cache(llama.config(), static_cast<int64_t>(b.size()) - 1, capacity, llama.device());
    return generate_greedy(llama, x, borders, cache, options);
}

}  // namespace wavllm
