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

/// Tokens of a step, chosen from the logits of each request.
class Choice {
public:
    Choice(const GenerateOptions& options, size_t requests) : options_(options) {
        if (options.sampling.temperature == 0) return;
        if (options.keys.size() != requests)
            throw ShapeError("generate: drawing tokens for {} requests needs as many keys, but {} are given", requests,
                             options.keys.size());
        keys_ = Tensor::from(options.keys, {static_cast<int64_t>(requests)});
    }

    /// n: tokens generated so far.
    void from(const Tensor& logits, int64_t n) {
        if (!keys_.defined()) {
            logits_ = logits.to(Device::cpu);
            return;
        }
        const kernels::Sampled drawn = kernels::sample(logits, options_.sampling, keys_,
                                                       Tensor::full(keys_.shape(), static_cast<double>(n), DType::i64));
        ids_ = drawn.ids.to(Device::cpu);
        log_probs_ = drawn.log_probs.to(Device::cpu);
    }
    int32_t token(int64_t request) const {
        if (!keys_.defined()) return argmax(row(request), logits_.dim(1));
        const int32_t id = ids_.data<int32_t>()[request];
        if (id < 0)
            throw Error(
                "generate: request {} has logits that are not finite; `wavllm verify` tells whether the weights "
                "are right",
                request);
        return id;
    }
    float log_prob(int64_t request, int32_t token) const {
        if (keys_.defined()) return log_probs_.data<float>()[request];
        return static_cast<float>(log_softmax_at(row(request), logits_.dim(1), token));
    }

private:
    const float* row(int64_t request) const {
        return logits_.data<float>() + request * logits_.dim(1);
    }
    const GenerateOptions& options_;
    Tensor keys_, logits_, ids_, log_probs_;
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

double log_softmax_at(const float* values, int64_t n, int64_t index) {
    const double top = values[argmax(values, n)];
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += std::exp(values[i] - top);
    return values[index] - top - std::log(sum);
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
    Choice choice(options, requests);
    std::vector<bool> done(requests, false);
    LlamaPass pass;
    pass.lora = options.lora;
    pass.run = options.run;
    pass.cache = &cache;
    pass.borders = borders;
    pass.positions = LlamaPass::positions_for(borders, &cache);
    Tensor h = gather_rows(llama.forward(x, pass), last_rows(b, "generate"));

    std::vector<int64_t> one_each(requests, 1);
    const Tensor step_borders = kernels::make_borders(one_each);
    Tensor ids = Tensor::zeros({static_cast<int64_t>(requests)}, DType::i32);
    for (size_t i = 0; i < requests; ++i) done[i] = limit(i) <= 0;
    for (int64_t n = 0; n < options.max_new_tokens; ++n) {
        choice.from(llama.logits(h), n);
        int32_t* id = ids.mutable_data<int32_t>();
        for (size_t i = 0; i < requests; ++i) {
            if (done[i]) continue;
            const auto request = static_cast<int64_t>(i);
            id[i] = choice.token(request);
            results[i].tokens.push_back(id[i]);
            if (options.log_probs) results[i].log_probs.push_back(choice.log_prob(request, id[i]));
            const bool go_on = !options.on_token || options.on_token(i, id[i]);
            done[i] = id[i] == options.eos || !go_on || n + 1 >= limit(i);
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
