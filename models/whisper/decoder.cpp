#include "models/whisper/decoder.h"

#include <algorithm>
#include <cstring>

#include "autograd/ops/add.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/rows.h"
#include "kernels/common/check.h"
#include "kernels/decode_attention/decode_attention.h"
#include "tensor/model_dtype.h"

namespace wavllm {

WhisperCache::WhisperCache(const WhisperConfig& config, int64_t slots, int64_t capacity, int64_t max_frames,
                           Device device)
    : capacity_(capacity), max_frames_(max_frames) {
    if (capacity > config.max_target_positions || max_frames > config.max_source_positions)
        throw UsageError("whisper: {} tokens and {} frames were asked for, but the model has {} and {} positions",
                         capacity, max_frames, config.max_target_positions, config.max_source_positions);
    PurposeScope scope(Purpose::kv_cache);
    for (int64_t i = 0; i < config.decoder_layers; ++i) {
        for (auto [side, length] : {std::pair{&self_, capacity}, {&cross_, max_frames}})
            side->push_back(Tensor::empty({slots, length, 2 * config.heads, config.head_dim()}, model_dtype(), device));
    }
    tokens_ = Tensor::zeros({slots}, DType::i64);
    frames_ = Tensor::zeros({slots}, DType::i64);
}

/// One call of prefill() or step().
struct WhisperDecoder::Pass {
    WhisperCache& cache;
    std::span<const int64_t> slots;
    std::span<const int64_t> borders;        // which rows belong to which of the slots
    bool first = false;                      // prefill
    bool all_slots = false;                  // slots are 0, 1, ..., all of the cache's
    Tensor self_lengths{}, cross_lengths{};  // step: i64 [cache slots], 0 for a slot that takes no part

    int64_t rows(size_t i) const {
        return borders[i + 1] - borders[i];
    }
};

namespace {

/// decode_attention over the slots of a cache [slots, capacity, 2 heads, head_dim] of which `slots` take part.
Tensor attend_slots(const Tensor& q, const Tensor& cache, const Tensor& lengths, std::span<const int64_t> slots,
                    bool all_slots) {
    const int64_t heads = q.dim(1), dh = q.dim(2);
    const Tensor keys = cache.slice(2, 0, heads), values = cache.slice(2, heads, 2 * heads);
    const double scale = whisper_attention_scale(dh);
    if (all_slots) return kernels::decode_attention(q, keys, values, lengths, scale);
    Tensor spread = kernels::workspace({cache.dim(0), heads, dh}, q.device(), q.dtype());
    for (size_t i = 0; i < slots.size(); ++i) spread.select(0, slots[i]).assign(q.select(0, static_cast<int64_t>(i)));
    const Tensor all = kernels::decode_attention(spread, keys, values, lengths, scale);
    Tensor y = Tensor::empty({static_cast<int64_t>(slots.size()), heads * dh}, q.dtype(), q.device());
    for (size_t i = 0; i < slots.size(); ++i) y.select(0, static_cast<int64_t>(i)).assign(all.select(0, slots[i]));
    return y;
}

}  // namespace

WhisperDecoder WhisperDecoder::load(const Weights& weights, const WhisperConfig& config, DType panels) {
    config.check();
    if (config.decoder_layers == 0)
        throw UsageError("{}: a Whisper without decoder layers cannot write", weights.file());
    const WhisperNames names(weights, panels);
    const int64_t d = config.dim;
    WhisperDecoder m;
    m.config_ = config;
    const char* embedding = names.ctranslate2() ? "embeddings/weight" : "embed_tokens.weight";
    m.embedding_ = weights.stored(embedding, {config.vocab, d});
    m.head_ = PackedWeight::pack(m.embedding_, panels);
    if (names.ctranslate2()) weights.ignore("projection/weight");  // an alias of the embedding
    m.positions_ = names.positions(config.max_target_positions, d);
    for (int64_t i = 0; i < config.decoder_layers; ++i) {
        const WhisperNames n = names.layer(i);
        m.blocks_.push_back(
            {.self_norm = n.norm("self_attention/layer_norm", "self_attn_layer_norm", d, config.norm_eps),
             .cross_norm = n.norm("attention/layer_norm", "encoder_attn_layer_norm", d, config.norm_eps),
             .ffn_norm = n.norm("ffn/layer_norm", "final_layer_norm", d, config.norm_eps),
             .self_qkv = n.fused("self_attention/linear_0", "self_attn", kQueryKeyValue, d),
             .self_out = n.linear("self_attention/linear_1", "self_attn.out_proj", d, d),
             .cross_q = n.linear("attention/linear_0", "encoder_attn.q_proj", d, d),
             .cross_kv = n.fused("attention/linear_1", "encoder_attn", kKeyValue, d),
             .cross_out = n.linear("attention/linear_2", "encoder_attn.out_proj", d, d),
             .ffn = WhisperFeedForward::load(n, d, config.decoder_ffn)});
    }
    m.norm_ = names.norm("layer_norm", "layer_norm", d, config.norm_eps);
    return m;
}

void WhisperDecoder::listen(WhisperCache& cache, int64_t slot, const Tensor& encoded) const {
    if (encoded.rank() != 2 || encoded.dim(1) != config_.dim || encoded.dim(0) < 1 ||
        encoded.dim(0) > cache.max_frames_)
        throw ShapeError("whisper decoder: encoded must be [1 to {} frames, {}], but is {}", cache.max_frames_,
                         config_.dim, encoded.describe());
    const int64_t frames = encoded.dim(0);
    for (size_t i = 0; i < blocks_.size(); ++i) {
        Tensor held = cache.cross_[i].select(0, slot).slice(0, 0, frames);
        held.assign(whisper_heads(blocks_[i].cross_kv(encoded), 0, 2 * config_.heads, config_.head_dim()));
    }
    cache.frames_.mutable_data<int64_t>()[slot] = frames;
    cache.tokens_.mutable_data<int64_t>()[slot] = 0;
}

Tensor WhisperDecoder::prefill(WhisperCache& cache, std::span<const int64_t> slots, const Tensor& ids,
                               const Tensor& borders, const Observer* observer) const {
    const auto b = kernels::borders_of("whisper decoder", borders, ids.numel());
    if (b.size() != slots.size() + 1)
        throw ShapeError("whisper decoder: {} slots, but borders of {} sequences", slots.size(), b.size() - 1);
    for (const int64_t slot : slots)
        if (cache.tokens(slot) != 0)
            throw Error("whisper decoder: slot {} holds {} tokens already; go on with step()", slot,
                        cache.tokens(slot));
    Pass pass{.cache = cache, .slots = slots, .borders = b, .first = true};
    return run(pass, ids, observer);
}

Tensor WhisperDecoder::step(WhisperCache& cache, std::span<const int64_t> slots, const Tensor& ids,
                            const Observer* observer) const {
    if (ids.numel() != static_cast<int64_t>(slots.size()))
        throw ShapeError("whisper decoder: {} slots, but {} tokens", slots.size(), ids.numel());
    Tensor borders = Tensor::empty({ids.numel() + 1}, DType::i64);
    for (int64_t i = 0; i <= ids.numel(); ++i) borders.mutable_data<int64_t>()[i] = i;
    Pass pass{.cache = cache, .slots = slots, .borders = kernels::borders_of("whisper decoder", borders, ids.numel())};
    pass.self_lengths = Tensor::zeros({cache.slots()}, DType::i64);
    pass.cross_lengths = Tensor::zeros({cache.slots()}, DType::i64);
    pass.all_slots = static_cast<int64_t>(slots.size()) == cache.slots();
    for (size_t i = 0; i < slots.size(); ++i) {
        pass.all_slots = pass.all_slots && slots[i] == static_cast<int64_t>(i);
        pass.self_lengths.mutable_data<int64_t>()[slots[i]] = cache.tokens(slots[i]) + 1;
        pass.cross_lengths.mutable_data<int64_t>()[slots[i]] = cache.frames(slots[i]);
    }
    return run(pass, ids, observer);
}

Tensor WhisperDecoder::run(Pass& pass, const Tensor& ids, const Observer* observer) const {
    Tensor places = Tensor::empty({ids.numel()}, DType::i32);
    for (size_t i = 0; i < pass.slots.size(); ++i) {
        const int64_t slot = pass.slots[i], before = pass.cache.tokens(slot);
        if (before + pass.rows(i) > pass.cache.capacity())
            throw Error("whisper decoder: slot {} would hold {} tokens, but its capacity is {}", slot,
                        before + pass.rows(i), pass.cache.capacity());
        for (int64_t t = 0; t < pass.rows(i); ++t)
            places.mutable_data<int32_t>()[pass.borders[i] + t] = static_cast<int32_t>(before + t);
    }
    Tensor h = embedding(embedding_, ids) + gather_rows(positions_, places);
    observe(observer, "embedded", h);
    for (size_t i = 0; i < blocks_.size(); ++i) {
        const Block& b = blocks_[i];
        h = h + self_attention(pass, i, b.self_norm(h));
        h = h + cross_attention(pass, i, b.cross_norm(h));
        h = h + b.ffn(b.ffn_norm(h));
        if (observer) observe(observer, fmt::format("layer{}", i), h);
    }
    for (size_t i = 0; i < pass.slots.size(); ++i)
        pass.cache.tokens_.mutable_data<int64_t>()[pass.slots[i]] += pass.rows(i);
    h = norm_(h);
    observe(observer, "decoded", h);
    return h;
}

Tensor WhisperDecoder::self_attention(Pass& pass, size_t layer, const Tensor& x) const {
    const Block& b = blocks_[layer];
    const int64_t heads = config_.heads, dh = config_.head_dim();
    const Tensor qkv = b.self_qkv(x);
    const Tensor keys_values = whisper_heads(qkv, heads, 2 * heads, dh);  // side by side, as in the cache
    const Tensor& cache = pass.cache.self_[layer];
    for (size_t i = 0; i < pass.slots.size(); ++i) {
        const int64_t before = pass.cache.tokens(pass.slots[i]);
        Tensor held = cache.select(0, pass.slots[i]).slice(0, before, before + pass.rows(i));
        held.assign(keys_values.slice(0, pass.borders[i], pass.borders[i + 1]));
    }
    const auto part = [&](int64_t i) { return whisper_heads(qkv, i * heads, heads, dh); };
    if (!pass.first) return b.self_out(attend_slots(part(0), cache, pass.self_lengths, pass.slots, pass.all_slots));
    const Tensor borders = Tensor::from(pass.borders, {static_cast<int64_t>(pass.borders.size())});
    return b.self_out(wavllm::attention(part(0), part(1), part(2),
                                        {borders, borders, AttentionMask::causal, whisper_attention_scale(dh)}));
}

Tensor WhisperDecoder::cross_attention(Pass& pass, size_t layer, const Tensor& x) const {
    const Block& b = blocks_[layer];
    const int64_t heads = config_.heads, dh = config_.head_dim();
    const Tensor q = whisper_heads(b.cross_q(x), 0, heads, dh);
    const Tensor& cache = pass.cache.cross_[layer];
    if (!pass.first) return b.cross_out(attend_slots(q, cache, pass.cross_lengths, pass.slots, pass.all_slots));
    Tensor mixed = Tensor::empty({x.dim(0), config_.dim}, x.dtype(), x.device());
    for (size_t i = 0; i < pass.slots.size(); ++i) {
        const int64_t frames[] = {pass.cache.frames(pass.slots[i])}, rows[] = {pass.rows(i)};
        const Tensor kv = cache.select(0, pass.slots[i]).slice(0, 0, frames[0]);
        const Tensor y = wavllm::attention(q.slice(0, pass.borders[i], pass.borders[i + 1]), kv.slice(1, 0, heads),
                                           kv.slice(1, heads, 2 * heads),
                                           {kernels::make_borders(rows), kernels::make_borders(frames),
                                            AttentionMask::full, whisper_attention_scale(dh)});
        mixed.slice(0, pass.borders[i], pass.borders[i + 1]).assign(y);
    }
    return b.cross_out(mixed);
}

Tensor WhisperDecoder::logits(const Tensor& hidden) const {
    return linear(hidden, head_);
}

}  // namespace wavllm
