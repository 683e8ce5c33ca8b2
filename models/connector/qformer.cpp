#include "models/connector/qformer.h"

#include <cmath>

#include "autograd/ops/add.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/gelu.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/view.h"
#include "models/connector/windows.h"

namespace wavllm {

namespace {

constexpr float kEncoderNormEps = 1e-5f;  // torch's default, for ln_speech and ln_audio
constexpr float kNormEps = 1e-12f;        // BERT's
constexpr double kDeviation = 0.02;       // BERT's initializer_range

enum class Start { normal, uniform, one, zero };

int64_t encoder_width(const QFormerConfig& c) {
    return c.in + c.acoustic_in;
}

/// i64 borders of windows' queries from borders of windows.
Tensor times(const Tensor& borders, int64_t factor) {
    if (factor == 1) return borders;
    Tensor result = Tensor::empty(borders.shape(), DType::i64);
    for (int64_t i = 0; i < borders.numel(); ++i)
        result.mutable_data<int64_t>()[i] = borders.data<int64_t>()[i] * factor;
    return result;
}

/// Borders of `count` sequences of `length` rows each.
Tensor equal_borders(int64_t count, int64_t length) {
    Tensor result = Tensor::empty({count + 1}, DType::i64);
    for (int64_t i = 0; i <= count; ++i) result.mutable_data<int64_t>()[i] = i * length;
    return result;
}

}  // namespace

/// Calls parameter(name, shape, how it starts, fan_in) for every tensor.
template <class Make>
void QFormer::make(const QFormerConfig& c, Make&& parameter) {
    if (c.heads < 1 || c.dim % c.heads != 0 || c.queries < 1 || c.window < 1 || c.layers < 1)
        throw ShapeError(
            "qformer: {} features, {} heads, {} queries, windows of {} frames and {} layers do not go together; all "
            "must "
            "be positive, and the heads divide the features",
            c.dim, c.heads, c.queries, c.window, c.layers);
    config_ = c;
    const auto norm = [&](const std::string& name, int64_t dim) {
        return Part{parameter(name + ".weight", Shape{dim}, Start::one, dim),
                    parameter(name + ".bias", Shape{dim}, Start::zero, dim)};
    };
    const auto dense = [&](const std::string& name, int64_t out, int64_t in, bool bias = true) {
        Part p{parameter(name + ".weight", Shape{out, in}, Start::normal, in), {}};
        if (bias) p.bias = parameter(name + ".bias", Shape{out}, Start::zero, in);
        return p;
    };
    const auto attention = [&](const std::string& name, int64_t in, bool has_scores) {
        Attention a;
        if (has_scores) {
            a.q = dense(name + ".self.query", c.dim, c.dim);
            a.k = dense(name + ".self.key", c.dim, in, false);
        }
        a.v = dense(name + ".self.value", c.dim, in);
        a.output = dense(name + ".output.dense", c.dim, c.dim);
        a.norm = norm(name + ".output.LayerNorm", c.dim);
        return a;
    };
    speech_norm_ = norm("ln_speech", c.in);
    if (c.acoustic_in > 0) audio_norm_ = norm("ln_audio", c.acoustic_in);
    queries_ = parameter("speech_query_tokens", Shape{c.queries, c.dim}, Start::normal, c.dim);
    const std::string bert = "speech_Qformer.bert.";
    query_norm_ = norm(bert + "embeddings.LayerNorm", c.dim);
    for (int64_t i = 0; i < c.layers; ++i) {
        const std::string name = fmt::format("{}encoder.layer.{}.", bert, i);
        Layer l;
        l.self = attention(name + "attention", c.dim, c.queries > 1);
        l.cross = attention(name + "crossattention", encoder_width(c), true);
        l.up = dense(name + "intermediate_query.dense", c.ffn, c.dim);
        l.down = dense(name + "output_query.dense", c.dim, c.ffn);
        l.norm = norm(name + "output_query.LayerNorm", c.dim);
        layers_.push_back(l);
    }
    projection_ = {parameter("speech_llama_proj.weight", Shape{c.out, c.dim}, Start::uniform, c.dim),
                   parameter("speech_llama_proj.bias", Shape{c.out}, Start::uniform, c.dim)};
}

QFormer::QFormer(const QFormerConfig& config, uint64_t seed) {
    make(config, [&](const std::string& name, const Shape& shape, Start start, int64_t fan_in) {
        switch (start) {
            case Start::normal: return normal_parameter(shape, kDeviation, seed, name);
            case Start::uniform:
                return uniform_parameter(shape, 1 / std::sqrt(static_cast<double>(fan_in)), seed, name);
            default: return constant_parameter(shape, start == Start::one ? 1 : 0, name);
        }
    });
}

QFormer QFormer::load(const Weights& weights, const QFormerConfig& config) {
    QFormer q;
    q.make(config, [&](const std::string& name, const Shape& shape, Start, int64_t) {
        const bool as_torch_has_it = weights.shape(name).rank() == 3;  // SALMONN's queries: [1, queries, dim]
        if (!as_torch_has_it || shape.rank() != 2) return make_parameter(weights.f32(name, shape), name);
        return make_parameter(weights.f32(name, {1, shape[0], shape[1]}).reshape(shape), name);
    });
    for (int64_t i = 0; i < config.layers; ++i) {
        const std::string name = fmt::format("speech_Qformer.bert.encoder.layer.{}.", i);
        weights.ignore(name + "crossattention.self.key.bias");
        weights.ignore(name + "attention.self.key.bias");
        if (config.queries > 1) continue;
        weights.ignore(name + "attention.self.query.");
        weights.ignore(name + "attention.self.key.");
    }
    return q;
}

/// What the queries of so many windows begin as.
Tensor QFormer::start(int64_t windows) const {
    Tensor index = Tensor::empty({windows * config_.queries}, DType::i32);
    int32_t* p = index.mutable_data<int32_t>();
    for (int64_t i = 0; i < index.numel(); ++i) p[i] = static_cast<int32_t>(i % config_.queries);
    // Normed window by window: a batch that is cut in pieces gives the same gradients to the bit.
    return layer_norm(gather_rows(queries_, index), query_norm_.weight, query_norm_.bias, kNormEps);
}

Tensor QFormer::layer(const Layer& l, const Tensor& h, const Tensor& frames, const Tensor& query_borders,
                      const Tensor& frame_borders) const {
    const int64_t heads = config_.heads, each = config_.dim / heads;
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(each)));
    const auto in_heads = [&](const Tensor& x) { return reshape(x, {x.dim(0), heads, each}); };
    const auto apply = [](const Part& p, const Tensor& x) { return linear(x, p.weight, p.bias); };
    const auto norm = [](const Part& p, const Tensor& x) { return layer_norm(x, p.weight, p.bias, kNormEps); };
    const auto attend = [&](const Attention& a, const Tensor& to, const Tensor& x, const Tensor& borders) {
        const AttentionLayout layout{.q_borders = query_borders, .k_borders = borders, .scale = scale};
        const Tensor v = apply(a.v, x);
        const Tensor read = a.q.weight.defined()
                                ? attention(in_heads(apply(a.q, to)), in_heads(apply(a.k, x)), in_heads(v), layout)
                                : v;
        return norm(a.norm, to + apply(a.output, read));
    };
    const Tensor among = attend(l.self, h, h, query_borders);
    const Tensor heard = attend(l.cross, among, frames, frame_borders);
    return norm(l.norm, heard + apply(l.down, gelu(apply(l.up, heard))));
}

Tensor QFormer::forward(const Tensor& semantic, Tensor& borders, const Tensor& acoustic, const Tensor& acoustic_borders,
                        const Observer* observer) const {
    if (acoustic.defined() != audio_norm_.weight.defined())
        throw ShapeError("qformer: this connector reads {} encoder(s), but the features are of {}",
                         audio_norm_.weight.defined() ? 2 : 1, acoustic.defined() ? 2 : 1);
    Tensor frames = layer_norm(semantic, speech_norm_.weight, speech_norm_.bias, kEncoderNormEps);
    if (acoustic.defined())
        frames =
            join_frames(frames, borders, layer_norm(acoustic, audio_norm_.weight, audio_norm_.bias, kEncoderNormEps),
                        acoustic_borders);
    observe(observer, "frames", frames);
    const Windows windows = cut_windows(borders, config_.window);
    if (windows.frames.defined()) frames = gather_rows(frames, windows.frames);
    const int64_t count = windows.borders.numel() - 1;
    const Tensor query_borders = equal_borders(count, config_.queries);
    Tensor h = start(count);
    for (size_t i = 0; i < layers_.size(); ++i) {
        h = layer(layers_[i], h, frames, query_borders, windows.borders);
        if (observer) observe(observer, fmt::format("layer{}", i), h);
    }
    borders = times(windows.owners, config_.queries);
    const Tensor projected = linear(h, projection_.weight, projection_.bias);
    observe(observer, "projected", projected);
    return projected;
}

int64_t QFormer::rows(int64_t t) const {
    return window_count(t, config_.window) * config_.queries;
}

void QFormer::append_parameters(Parameters& to) const {
    const auto add = [&](const Tensor& t) {
        if (t.defined()) to.push_back({std::string(t.label()), t, "adapter"});
    };
    const auto part = [&](const Part& p) {
        add(p.weight);
        add(p.bias);
    };
    part(speech_norm_);
    part(audio_norm_);
    add(queries_);
    part(query_norm_);
    for (const Layer& l : layers_) {
        for (const Attention* a : {&l.self, &l.cross})
            for (const Part* p : {&a->q, &a->k, &a->v, &a->output, &a->norm}) part(*p);
        for (const Part* p : {&l.up, &l.down, &l.norm}) part(*p);
    }
    part(projection_);
}

}  // namespace wavllm
