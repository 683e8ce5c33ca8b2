#include "models/llama/llama.h"

#include <array>
#include <cmath>

#include "autograd/checkpoint.h"
#include "autograd/ops/add.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/rms_norm.h"
#include "autograd/ops/rope.h"
#include "autograd/ops/silu_mul.h"
#include "autograd/ops/view.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/decode_attention/decode_attention.h"
#include "kernels/linear/linear.h"

namespace wavllm {

Tensor LlamaPass::positions_for(const Tensor& borders, const KvCache* cache) {
    const int64_t* b = borders.data<int64_t>();
    const int64_t sequences = borders.numel() - 1;
    Tensor positions = Tensor::empty({b[sequences]}, DType::i32);
    int32_t* p = positions.mutable_data<int32_t>();
    for (int64_t s = 0; s < sequences; ++s)
        for (int64_t t = b[s], start = cache ? cache->length(s) : 0; t < b[s + 1]; ++t)
            p[t] = static_cast<int32_t>(start + t - b[s]);
    return positions;
}

Tensor Llama::embed(const Tensor& ids) const {
    return embedding(embedding_, ids);
}

Tensor Llama::forward(const Tensor& x, const LlamaPass& given) const {
    LlamaPass pass = given;
    if (pass.cache && !pass.lengths.defined()) pass.lengths = pass.cache->lengths_with(pass.borders);
    Tensor h = x;
    LlamaPass own = pass;
    if (own.run.scale.r.defined()) own.run.scale.borders = pass.borders;  // one row of r a sequence
    for (int64_t i = 0; i < config_.layers; ++i) {
        const auto run = [this, i, own](const Tensor& in) { return block(i, in, own); };
        h = pass.checkpoint_activations ? checkpoint(run, h) : run(h);
        if (pass.observer) observe(pass.observer, fmt::format("layer{}", i), h);
    }
    if (pass.cache && !given.lengths.defined()) pass.cache->advance(pass.borders);
    return h;
}

Tensor Llama::block(int64_t layer, const Tensor& x, const LlamaPass& pass) const {
    const LlamaBlock& b = blocks_[static_cast<size_t>(layer)];
    const Tensor h = x + attention(layer, rms_norm(x, b.attention_norm, config_.norm_eps), pass);
    return h + linear(silu_mul(linear(rms_norm(h, b.ffn_norm, config_.norm_eps), b.gate_up)), b.down);
}

Tensor Llama::attention(int64_t layer, const Tensor& x, const LlamaPass& pass) const {
    const LlamaBlock& b = blocks_[static_cast<size_t>(layer)];
    static const Lora none;
    const Lora& lora = pass.lora ? *pass.lora : none;
    const LoraRun* run = pass.lora ? &pass.run : nullptr;
    const int64_t t = x.dim(0), dh = config_.head_dim();
    const auto heads = [&](const Tensor& y, int64_t n) { return reshape(y, {t, n, dh}); };
    const auto rotate = [&](const Tensor& y) { return rope(y, pass.positions, rope_, config_.rope_layout); };
    std::array<Tensor, 3> qkv;
    if (!lora.defined() && !(grad_enabled() && requires_grad(x)))
        kernels::linear_together(x, std::array{&b.q, &b.k, &b.v}, qkv);
    else
        qkv = {lora.apply(x, b.q, layer, LoraTarget::q, run), lora.apply(x, b.k, layer, LoraTarget::k, run),
               lora.apply(x, b.v, layer, LoraTarget::v, run)};
    const Tensor q = rotate(heads(qkv[0], config_.heads)), k = rotate(heads(qkv[1], config_.kv_heads)),
                 v = heads(qkv[2], config_.kv_heads);
    if (pass.observer) {
        observe(pass.observer, fmt::format("layer{}.queries", layer), q);
        observe(pass.observer, fmt::format("layer{}.keys", layer), k);
        observe(pass.observer, fmt::format("layer{}.values", layer), v);
    }
    const double scale = 1 / std::sqrt(static_cast<double>(dh));
    const Tensor mixed =
        pass.cache
            ? cached_attention(layer, q, k, v, pass)
            : wavllm::attention(q, k, v, {pass.borders, pass.borders, AttentionMask::causal, scale, b.q.dtype()});
    return lora.apply(mixed, b.o, layer, LoraTarget::o, run);
}

Tensor Llama::cached_attention(int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                               const LlamaPass& pass) const {
    if (grad_enabled() && (requires_grad(q) || requires_grad(k)))
        throw Error("llama: a KV cache is for inference; use NoGrad, or no cache in training");
    KvCache& cache = *pass.cache;
    const auto borders = kernels::borders_of("llama", pass.borders, q.dim(0));
    const double scale = 1 / std::sqrt(static_cast<double>(config_.head_dim()));
    cache.write(layer, k, v, pass.borders, pass.lengths);
    if (pass.lengths.device() != Device::cpu) {
        const auto seen = [&](const Tensor& t) { return t.slice(1, 0, pass.longest); };
        return kernels::decode_attention(q, seen(cache.keys(layer)), seen(cache.values(layer)), pass.lengths, scale);
    }
    bool one_each = true, fresh = true;
    for (int64_t i = 0; i < cache.batch(); ++i) {
        one_each = one_each && borders[static_cast<size_t>(i) + 1] - borders[static_cast<size_t>(i)] == 1;
        fresh = fresh && cache.length(i) == 0;
    }
    if (one_each) return kernels::decode_attention(q, cache.keys(layer), cache.values(layer), pass.lengths, scale);
    const DType products = blocks_[static_cast<size_t>(layer)].q.dtype();
    if (fresh) return wavllm::attention(q, k, v, {pass.borders, pass.borders, AttentionMask::causal, scale, products});
    // A later turn of a conversation: the new rows of each request see all that its cache holds.
    Tensor y = Tensor::empty({q.dim(0), config_.dim}, q.dtype(), q.device());
    for (int64_t i = 0; i < cache.batch(); ++i) {
        const int64_t begin = borders[static_cast<size_t>(i)], end = borders[static_cast<size_t>(i) + 1];
        const int64_t keys = cache.length(i) + end - begin;
        const auto own = [&](const Tensor& t) { return t.select(0, i).slice(0, 0, keys); };
        const int64_t q_rows[] = {end - begin}, k_rows[] = {keys};
        y.slice(0, begin, end)
            .assign(wavllm::attention(q.slice(0, begin, end), own(cache.keys(layer)), own(cache.values(layer)),
                                      {kernels::make_borders(q_rows), kernels::make_borders(k_rows),
                                       AttentionMask::causal, scale, products}));
    }
    return y;
}

Tensor Llama::final_norm(const Tensor& h) const {
    return rms_norm(h, norm_, config_.norm_eps);
}

Tensor Llama::logits(const Tensor& h) const {
    return linear(final_norm(h), head_);
}

}  // namespace wavllm
