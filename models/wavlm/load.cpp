// WavLM's weights: from a checkpoint, frozen or trainable, or new.

#include <cmath>

#include "kernels/rows/rows.h"
#include "models/wavlm/encoder.h"

namespace wavllm {

namespace {

/// w = g v / ||v||, with one norm for each tap (Salimans & Kingma 2016): how the positional convolution is stored.
Tensor fold_weight_norm(const Tensor& g, const Tensor& v) {
    Tensor w = Tensor::empty(v.shape());
    const int64_t rows = v.dim(0) * v.dim(1), taps = v.dim(2);
    const float *pg = g.data<float>(), *pv = v.data<float>();
    float* pw = w.mutable_data<float>();
    for (int64_t k = 0; k < taps; ++k) {
        double sum = 0;
        for (int64_t r = 0; r < rows; ++r) sum += static_cast<double>(pv[r * taps + k]) * pv[r * taps + k];
        const double factor = pg[k] / std::sqrt(sum);
        for (int64_t r = 0; r < rows; ++r) pw[r * taps + k] = static_cast<float>(pv[r * taps + k] * factor);
    }
    return w;
}

Tensor positional_weight(const Weights& w, const Shape& shape) {
    const Shape taps{1, 1, shape[2]};
    const auto folded = [&](const char* g, const char* v) {
        return fold_weight_norm(w.f32(g, taps).to(Device::cpu), w.f32(v, shape).to(Device::cpu)).to(model_device());
    };
    if (w.has("weight_v")) return folded("weight_g", "weight_v");
    if (w.has("parametrizations.weight.original1"))
        return folded("parametrizations.weight.original0", "parametrizations.weight.original1");
    return w.f32("weight", shape);
}

}  // namespace

/// Where weights come from: a checkpoint, another encoder's parameters, or (both null) a seed.
class WavlmEncoder::Source {
public:
    Source(const Weights* weights, const Parameters* values, bool trainable, DType panels, uint64_t seed,
           Parameters& parameters)
        : trainable_(trainable),
          weights_(weights),
          values_(values),
          panels_(panels),
          seed_(seed),
          parameters_(parameters) {}

    bool trainable() const {
        return trainable_;
    }
    /// bound: of a new one's values; 0 and less: it is 1 + bound everywhere.
    Tensor tensor(const std::string& name, const Shape& shape, double bound) {
        if (!trainable_) return values_ ? value(name) : weights_->f32(name, shape);
        return keep(weights_    ? make_parameter(weights_->f32(name, shape), name)
                    : bound > 0 ? uniform_parameter(shape, bound, seed_, name)
                                : constant_parameter(shape, 1 + bound, name));
    }
    Norm norm(const std::string& name, int64_t dim) {
        return {tensor(name + ".weight", {dim}, 0), tensor(name + ".bias", {dim}, -1)};
    }
    Affine affine(const std::string& name, int64_t out, int64_t in) {
        return affine(name, out, in, panels_);
    }
    Affine affine(const std::string& name, int64_t out, int64_t in, DType panels) {
        Affine a;
        if (trainable_)
            a.weight = tensor(name + ".weight", {out, in}, 1 / std::sqrt(static_cast<double>(in)));
        else
            a.packed = values_ ? PackedWeight::pack(value(name + ".weight"), panels)
                               : weights_->packed(name + ".weight", out, in, panels);
        a.bias = tensor(name + ".bias", {out}, -1);
        return a;
    }
    /// q, k and v in one product.
    Affine fused(const std::string& name, int64_t dim) {
        const std::string q = name + "q_proj", k = name + "k_proj", v = name + "v_proj";
        const auto stacked = [&](const char* kind, const Shape& shape, const Shape& each) {
            PurposeScope scope(Purpose::weights);
            Tensor all = Tensor::empty(shape, DType::f32, model_device());
            int64_t at = 0;
            for (const std::string& part : {q, k, v}) {
                all.slice(0, at, at + dim).assign(tensor(part + kind, each, 0));
                at += dim;
            }
            return all;
        };
        Affine a;
        a.packed = values_ ? PackedWeight::pack(stacked(".weight", {3 * dim, dim}, {dim, dim}), panels_)
                           : weights_->packed({q + ".weight", k + ".weight", v + ".weight"}, 3 * dim, dim, panels_);
        a.bias = stacked(".bias", {3 * dim}, {dim});
        return a;
    }
    /// A convolution of the front end; Kaiming's bound for a new one, as of layers followed by a rectifier.
    Conv conv(const std::string& name, const Shape& shape, bool bias, bool norm, bool pack, DType panels) {
        Conv c;
        c.weight = tensor(name + ".conv.weight", shape, std::sqrt(6.0 / static_cast<double>(shape[1] * shape[2])));
        if (bias) c.bias = tensor(name + ".conv.bias", {shape[0]}, -1);
        if (norm) c.norm = this->norm(name + ".layer_norm", shape[0]);
        if (trainable_) return c;
        if (pack) {
            c.packed = PackedConv::pack(c.weight, panels);
            c.weight = {};
        } else {
            c.weight = c.weight.to(Device::cpu);
            c.norm = {c.norm.weight.to(Device::cpu), c.norm.bias.to(Device::cpu)};
        }
        return c;
    }
    Conv positions(const std::string& name, const Shape& shape, int64_t groups) {
        Conv c;
        const std::string weight = name + ".weight";
        if (values_ || !weights_)
            c.weight = tensor(weight, shape, 2 * std::sqrt(3 / static_cast<double>(shape[0] * shape[2])));
        else
            c.weight = positional_weight(weights_->under(name + "."), shape);
        if (weights_ && trainable_) c.weight = keep(make_parameter(c.weight, weight));
        c.bias = tensor(name + ".bias", {shape[0]}, -1);
        if (trainable_) return c;
        c.packed = PackedConv::pack(c.weight, panels_, groups);
        c.weight = {};
        return c;
    }
    Tensor mask_embedding(const std::string& name, int64_t dim) {
        // It serves pre-training only; some checkpoints lack it.
        if (trainable_ && (!weights_ || weights_->has(name))) return tensor(name, {dim}, 1);
        if (weights_) weights_->ignore(name);
        return trainable_ ? keep(uniform_parameter({dim}, 1, seed_, name)) : Tensor();
    }
    DType panels() const {
        return panels_;
    }

private:
    Tensor value(const std::string& name) const {
        for (const Parameter& p : *values_)
            if (p.name == name) return p.tensor.detach();
        throw Error("wavlm: there is no parameter \"{}\" to freeze; is the encoder frozen already?", name);
    }
    Tensor keep(const Tensor& t) {
        parameters_.push_back({std::string(t.label()), t, "wavlm"});
        return t;
    }

    bool trainable_;
    const Weights* weights_;
    const Parameters* values_;
    DType panels_;
    uint64_t seed_;
    Parameters& parameters_;
};

void WavlmEncoder::make(Source& from) {
    config_.check();
    const WavlmConfig& c = config_;
    trainable_ = from.trainable();
    const int64_t d = c.dim, dh = c.head_dim();
    mask_embedding_ = from.mask_embedding("masked_spec_embed", d);
    for (size_t i = 0; i < c.conv_dim.size(); ++i) {
        const bool first = i == 0, grouped = first && !c.conv_layer_norm;
        // A waveform has more than the 8 bits of bf16.
        convs_.push_back(from.conv(fmt::format("feature_extractor.conv_layers.{}", i),
                                   {c.conv_dim[i], first ? 1 : c.conv_dim[i - 1], c.conv_kernel[i]}, c.conv_bias,
                                   grouped || c.conv_layer_norm, !grouped, first ? DType::f32 : from.panels()));
    }
    features_norm_ = from.norm("feature_projection.layer_norm", c.conv_dim.back());
    projection_ = from.affine("feature_projection.projection", d, c.conv_dim.back());
    positions_ =
        from.positions("encoder.pos_conv_embed.conv", {d, d / c.position_groups, c.position_kernel}, c.position_groups);
    encoder_norm_ = from.norm("encoder.layer_norm", d);
    for (int64_t i = 0; i < c.layers; ++i) {
        const std::string layer = fmt::format("encoder.layers.{}.", i), attention = layer + "attention.";
        Layer l;
        if (trainable_) {
            l.q = from.affine(attention + "q_proj", d, d);
            l.k = from.affine(attention + "k_proj", d, d);
            l.v = from.affine(attention + "v_proj", d, d);
        } else {
            l.qkv = from.fused(attention, d);
        }
        l.out = from.affine(attention + "out_proj", d, d);
        l.gate = from.affine(attention + "gru_rel_pos_linear", 8, dh, DType::f32);
        l.gate_constant = from.tensor(attention + "gru_rel_pos_const", {1, c.heads, 1, 1}, 0);
        if (i == 0) distance_table_ = from.tensor(attention + "rel_attn_embed.weight", {c.buckets, c.heads}, 0.035);
        l.attention_norm = from.norm(layer + "layer_norm", d);
        l.up = from.affine(layer + "feed_forward.intermediate_dense", c.ffn, d);
        l.down = from.affine(layer + "feed_forward.output_dense", d, c.ffn);
        l.final_norm = from.norm(layer + "final_layer_norm", d);
        layers_.push_back(std::move(l));
    }

    PurposeScope scope(Purpose::weights);
    std::vector<int32_t> buckets;
    for (int64_t n = -c.max_distance; n <= c.max_distance; ++n)
        buckets.push_back(static_cast<int32_t>(relative_position_bucket(n, c.buckets, c.max_distance)));
    distance_buckets_ = Tensor::from(buckets, {static_cast<int64_t>(buckets.size())});
    if (!trainable_) by_distance_ = kernels::gather_rows(distance_table_, distance_buckets_);
    const std::vector<float> fours{1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1};
    fours_ = PackedWeight::pack(Tensor::from(fours, {2, 8}), DType::f32, model_device());
}

WavlmEncoder WavlmEncoder::load(const Weights& weights, const WavlmConfig& config, DType panels) {
    WavlmEncoder e;
    e.config_ = config;
    Source source(&weights, nullptr, false, panels, 0, e.parameters_);
    e.make(source);
    return e;
}

WavlmEncoder WavlmEncoder::load_trainable(const Weights& weights, const WavlmConfig& config) {
    WavlmEncoder e;
    e.config_ = config;
    Source source(&weights, nullptr, true, DType::f32, 0, e.parameters_);
    e.make(source);
    return e;
}

WavlmEncoder::WavlmEncoder(const WavlmConfig& config, uint64_t seed) : config_(config) {
    Source source(nullptr, nullptr, true, DType::f32, seed, parameters_);
    make(source);
}

WavlmEncoder WavlmEncoder::frozen(DType panels) const {
    WavlmEncoder e;
    e.config_ = config_;
    Source source(nullptr, &parameters_, false, panels, 0, e.parameters_);
    e.make(source);
    return e;
}

WavlmEncoder load_wavlm(const Checkpoint& checkpoint, DType panels) {
    const Weights weights(checkpoint);
    const bool inside = weights.has("wavlm.encoder.layer_norm.weight");
    WavlmEncoder encoder =
        WavlmEncoder::load(inside ? weights.under("wavlm.") : weights, wavlm_config(checkpoint), panels);
    if (inside)
        for (const StoredTensor& t : checkpoint.tensors())
            if (!t.name.starts_with("wavlm.")) weights.ignore(t.name);
    weights.finish();
    return encoder;
}

}  // namespace wavllm
