#include "infer/generate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "autograd/ops/rows.h"
#include "autograd/tape.h"
#include "infer/decode_step.h"
#include "kernels/common/check.h"
#include "kernels/common/simd.h"

namespace wavllm {

namespace {

/// Tokens of a step, one for each request, chosen from their logits.
class Choice {
public:
    Choice(const GenerateOptions& options, size_t requests) : options_(options) {
        if (options.sampling.temperature == 0) return;
        if (options.keys.size() != requests)
            throw ShapeError("generate: drawing tokens for {} requests needs as many keys, but {} are given", requests,
                             options.keys.size());
        keys_ = Tensor::from(options.keys, {static_cast<int64_t>(requests)});
    }

    bool drawn() const {
        return keys_.defined();
    }
    /// n: tokens generated so far.
    Chosen operator()(const Tensor& logits, int64_t n) const {
        if (!drawn())
            return logits.device() == Device::cpu ? likeliest(logits) : choose_on_device(logits, options_.log_probs);
        const kernels::Sampled s = kernels::sample(logits, options_.sampling, keys_,
                                                   Tensor::full(keys_.shape(), static_cast<double>(n), DType::i64));
        const Tensor ids = s.ids.to(Device::cpu), log_probs = s.log_probs.to(Device::cpu);
        const int32_t* id = ids.data<int32_t>();
        Chosen chosen{{id, id + ids.numel()}, {}};
        for (size_t i = 0; i < chosen.ids.size(); ++i)
            if (id[i] < 0)
                throw Error(
                    "generate: request {} has logits that are not finite; `wavllm verify` tells whether the weights "
                    "are right",
                    i);
        if (options_.log_probs) {
            const float* p = log_probs.data<float>();
            chosen.log_probs.assign(p, p + log_probs.numel());
        }
        return chosen;
    }

private:
    Chosen likeliest(const Tensor& logits) const {
        Chosen chosen;
        for (int64_t row = 0; row < logits.dim(0); ++row) {
            chosen.ids.push_back(argmax_of_row(logits, row));
            if (!options_.log_probs) continue;
            const double log_prob = log_softmax_of_row(logits, row, chosen.ids.back());
            chosen.log_probs.push_back(logits.dtype() == DType::f64 ? log_prob : static_cast<float>(log_prob));
        }
        return chosen;
    }
    const GenerateOptions& options_;
    Tensor keys_;
};

}  // namespace

Tensor last_rows(std::span<const int64_t> borders, std::string_view what) {
    std::vector<int32_t> rows;
    for (size_t i = 1; i < borders.size(); ++i) {
        if (borders[i] == borders[i - 1]) throw ShapeError("{}: request {} has no rows", what, i - 1);
        rows.push_back(static_cast<int32_t>(borders[i] - 1));
    }
    return Tensor::from(rows, {static_cast<int64_t>(rows.size())});
}

void expect_positions(const Llama& llama, int64_t prompt, int64_t new_tokens) {
    if (prompt + new_tokens > llama.config().max_positions)
        throw Error(
            "generate: a prompt of {} tokens and {} new ones exceed the model's {} positions; ask for fewer new tokens",
            prompt, new_tokens, llama.config().max_positions);
}

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

std::vector<Generated> generate(const Llama& llama, const Tensor& x, const Tensor& borders, KvCache& cache,
                                const GenerateOptions& options) {
    NoGrad no_grad;
    const auto b = kernels::borders_of("generate", borders, x.dim(0));
    const size_t requests = b.size() - 1;
    if (!options.limits.empty() && options.limits.size() != requests)
        throw ShapeError("generate: {} limits for {} requests", options.limits.size(), requests);
    const auto limit = [&](size_t i) {
        return options.limits.empty() ? options.max_new_tokens : std::min(options.limits[i], options.max_new_tokens);
    };
    std::vector<Generated> results(requests);
    const Choice choice(options, requests);
    std::vector<bool> done(requests, false);
    LlamaPass pass;
    pass.lora = options.lora;
    pass.run = options.run;
    pass.cache = &cache;
    pass.borders = borders;
    pass.positions = LlamaPass::positions_for(borders, &cache);
    const bool on_cpu = llama.device() == Device::cpu, graphs = use_graphs(options.graphs, llama.device());
    Chosen chosen = choice(llama.logits(gather_rows(llama.forward(x, pass), last_rows(b, "generate"))), 0);
    pass.borders = kernels::make_borders(std::vector<int64_t>(requests, 1));
    std::optional<DecodeStep> step;
    for (size_t i = 0; i < requests; ++i) done[i] = limit(i) <= 0;
    for (int64_t n = 0; n < options.max_new_tokens; ++n) {
        for (size_t i = 0; i < requests; ++i) {
            if (done[i]) continue;
            results[i].tokens.push_back(chosen.ids[i]);
            if (options.log_probs) results[i].log_probs.push_back(chosen.log_probs[i]);
            const bool go_on = !options.on_token || options.on_token(i, chosen.ids[i]);
            done[i] = chosen.ids[i] == options.eos || !go_on || n + 1 >= limit(i);
        }
        if (n + 1 == options.max_new_tokens || std::all_of(done.begin(), done.end(), [](bool d) { return d; })) break;
        std::vector<int64_t> held(requests);
        for (size_t i = 0; i < requests; ++i) held[i] = cache.length(static_cast<int64_t>(i));
        if (on_cpu) {
            pass.positions = LlamaPass::positions_for(pass.borders, &cache);
            const Tensor ids = Tensor::from(chosen.ids, {static_cast<int64_t>(requests)});
            chosen = choice(llama.logits(llama.forward(llama.embed(ids), pass)), n + 1);
        } else {
            if (!step) step.emplace(llama, pass, chosen.ids, graphs);
            chosen = step->next(options.log_probs);
            if (choice.drawn()) step->feed((chosen = choice(step->logits(), n + 1)).ids);
        }
        // A finished request goes through the motions until the others are done; what it writes is forgotten at once.
        for (size_t i = 0; i < requests; ++i)
            if (done[i]) cache.truncate(static_cast<int64_t>(i), held[i]);
    }
    return results;
}

std::vector<Generated> generate(const Llama& llama, const Tensor& x, const Tensor& borders,
                                const GenerateOptions& options) {
    const auto b = kernels::borders_of("generate", borders, x.dim(0));
    int64_t longest = 0;
    for (size_t i = 1; i < b.size(); ++i) longest = std::max(longest, b[i] - b[i - 1]);
    expect_positions(llama, longest, options.max_new_tokens);
    KvCache cache(llama.config(), static_cast<int64_t>(b.size()) - 1, longest + options.max_new_tokens, llama.device());
    return generate(llama, x, borders, cache, options);
}

std::vector<Generated> generate_greedy(const Llama& llama, const Tensor& x, const Tensor& borders, KvCache& cache,
                                       GenerateOptions options) {
    options.sampling.temperature = 0;
    return generate(llama, x, borders, cache, options);
}

std::vector<Generated> generate_greedy(const Llama& llama, const Tensor& x, const Tensor& borders,
                                       GenerateOptions options) {
    options.sampling.temperature = 0;
    return generate(llama, x, borders, options);
}

}  // namespace wavllm
