#include "models/whisper/trainable.h"

#include <cmath>

#include "autograd/ops/add.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/conv1d.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/gelu.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/view.h"
#include "kernels/common/check.h"
#include "models/whisper/layers.h"

namespace wavllm {

namespace {

constexpr int64_t kTaps = 3;
constexpr ConvGeometry kConv1{.stride = 1, .padding = 1}, kConv2{.stride = 2, .padding = 1};

/// 0, 1, 2, ... in each sequence, i32. Throws ShapeError for one longer than `most`.
Tensor places(const Tensor& borders, int64_t most, const char* what) {
    const int64_t* b = borders.data<int64_t>();
    const int64_t sequences = borders.numel() - 1;
    Tensor result = Tensor::empty({b[sequences]}, DType::i32);
    for (int64_t s = 0; s < sequences; ++s) {
        if (b[s + 1] - b[s] > most)
            throw ShapeError("whisper: chunk {} has {} {}, but there are positions for {}", s, b[s + 1] - b[s], what,
                             most);
        for (int64_t t = b[s]; t < b[s + 1]; ++t) result.mutable_data<int32_t>()[t] = static_cast<int32_t>(t - b[s]);
    }
    return result;
}

}  // namespace

Tensor whisper_sinusoids(int64_t length, int64_t dim) {
    if (dim < 4 || dim % 2 != 0)
        throw UsageError("whisper: positions of width {}; it must be even, and at least 4", dim);
    Tensor table = Tensor::empty({length, dim});
    const int64_t half = dim / 2;
    const double step = std::log(10000.0) / static_cast<double>(half - 1);
    float* p = table.mutable_data<float>();
    for (int64_t t = 0; t < length; ++t, p += dim)
        for (int64_t k = 0; k < half; ++k) {
            const double angle = static_cast<double>(t) * std::exp(-step * static_cast<double>(k));
            p[k] = static_cast<float>(std::sin(angle));
            p[half + k] = static_cast<float>(std::cos(angle));
        }
    return table;
}

/// Draws weights and keeps them as parameters.
class TrainableWhisper::Maker {
public:
    Maker(uint64_t seed, Parameters& parameters) : seed_(seed), parameters_(parameters) {}

    Tensor matrix(const std::string& name, const Shape& shape, double deviation) {
        return keep(normal_parameter(shape, deviation, seed_, name));
    }
    Affine affine(const std::string& name, int64_t out, int64_t in, bool bias = true) {
        Affine a;
        a.weight = keep(uniform_parameter({out, in}, 1 / std::sqrt(static_cast<double>(in)), seed_, name + ".weight"));
        if (bias) a.bias = keep(constant_parameter({out}, 0, name + ".bias"));
        return a;
    }
    /// Kaiming's bound, as of layers followed by a rectifier.
    Affine conv(const std::string& name, int64_t out, int64_t in) {
        const double bound = std::sqrt(6 / static_cast<double>(in * kTaps));
        Affine a;
        a.weight = keep(uniform_parameter({out, in, kTaps}, bound, seed_, name + ".weight"));
        a.bias = keep(constant_parameter({out}, 0, name + ".bias"));
        return a;
    }
    Norm norm(const std::string& name, int64_t dim) {
        Norm n;
        n.weight = keep(constant_parameter({dim}, 1, name + ".weight"));
        n.bias = keep(constant_parameter({dim}, 0, name + ".bias"));
        return n;
    }
    Attention attention(const std::string& norm_name, const std::string& name, int64_t dim) {
        Attention a;
        a.norm = norm(norm_name, dim);
        a.q = affine(name + ".q_proj", dim, dim);
        a.k = affine(name + ".k_proj", dim, dim, /*bias=*/false);
        a.v = affine(name + ".v_proj", dim, dim);
        a.out = affine(name + ".out_proj", dim, dim);
        return a;
    }
    Block block(const std::string& name, int64_t dim, int64_t ffn, bool decoder) {
        Block b;
        b.self = attention(name + "self_attn_layer_norm", name + "self_attn", dim);
        if (decoder) b.cross = attention(name + "encoder_attn_layer_norm", name + "encoder_attn", dim);
        b.ffn_norm = norm(name + "final_layer_norm", dim);
        b.up = affine(name + "fc1", ffn, dim);
        b.down = affine(name + "fc2", dim, ffn);
        return b;
    }

private:
    Tensor keep(const Tensor& t) {
        parameters_.push_back({std::string(t.label()), t, "whisper"});
        return t;
    }
    uint64_t seed_;
    Parameters& parameters_;
};

TrainableWhisper::TrainableWhisper(const WhisperConfig& config, uint64_t seed) : config_(config) {
    config_.check();
    if (config_.decoder_layers == 0) throw UsageError("whisper: without decoder layers there is nothing to predict");
    const int64_t d = config_.dim;
    Maker make(seed, parameters_);
    const std::string encoder = "model.encoder.", decoder = "model.decoder.";
    conv1_ = make.conv(encoder + "conv1", d, config_.mels);
    conv2_ = make.conv(encoder + "conv2", d, d);
    for (int64_t i = 0; i < config_.encoder_layers; ++i)
        encoder_.push_back(make.block(fmt::format("{}layers.{}.", encoder, i), d, config_.encoder_ffn, false));
    encoder_norm_ = make.norm(encoder + "layer_norm", d);
    embedding_ = make.matrix(decoder + "embed_tokens.weight", {config_.vocab, d}, 0.02);
    token_positions_ = make.matrix(decoder + "embed_positions.weight", {config_.max_target_positions, d}, 0.01);
    for (int64_t i = 0; i < config_.decoder_layers; ++i)
        decoder_.push_back(make.block(fmt::format("{}layers.{}.", decoder, i), d, config_.decoder_ffn, true));
    decoder_norm_ = make.norm(decoder + "layer_norm", d);
    PurposeScope scope(Purpose::weights);
    positions_ = whisper_sinusoids(config_.max_source_positions, d).to(model_device());
}

std::vector<std::pair<std::string, Tensor>> TrainableWhisper::tensors() const {
    std::vector<std::pair<std::string, Tensor>> all{{"model.encoder.embed_positions.weight", positions_}};
    for (const Parameter& p : parameters_) all.emplace_back(p.name, p.tensor);
    return all;
}

Tensor TrainableWhisper::Affine::operator()(const Tensor& x) const {
    return linear(x, weight, bias);
}

Tensor TrainableWhisper::norm(const Norm& n, const Tensor& x) const {
    return layer_norm(x, n.weight, n.bias, config_.norm_eps);
}

Tensor TrainableWhisper::frame_borders(const Tensor& mel_borders) const {
    return kernels::conv1d_borders(mel_borders, kTaps, kConv2);  // the first convolution keeps the length
}

/// x of the queries, memory of keys and values.
Tensor TrainableWhisper::attend(const Attention& a, const Tensor& x, const Tensor& memory, const Tensor& borders,
                                const Tensor& memory_borders, bool causal) const {
    const int64_t dh = config_.head_dim();
    const auto heads = [&](const Tensor& y) { return reshape(y, {y.dim(0), config_.heads, dh}); };
    const AttentionLayout layout{borders, memory_borders, causal ? AttentionMask::causal : AttentionMask::full,
                                 whisper_attention_scale(dh)};
    return a.out(attention(heads(a.q(x)), heads(a.k(memory)), heads(a.v(memory)), layout));
}

Tensor TrainableWhisper::feed_forward(const Block& b, const Tensor& x) const {
    return x + b.down(gelu(b.up(norm(b.ffn_norm, x))));
}

Tensor TrainableWhisper::encode(const Tensor& mel, const Tensor& mel_borders) const {
    if (mel.rank() != 2 || mel.dim(1) != config_.mels)
        throw ShapeError("whisper: mel must be [frames, {}], but is {}", config_.mels, mel.describe());
    const Tensor borders = frame_borders(mel_borders);
    const Tensor at = places(borders, config_.max_source_positions, "frames");
    Tensor h = gelu(conv1d(mel, mel_borders, conv1_.weight, conv1_.bias, kConv1));
    h = gelu(conv1d(h, mel_borders, conv2_.weight, conv2_.bias, kConv2)) + gather_rows(positions_, at);
    for (const Block& b : encoder_) {
        const Tensor x = norm(b.self.norm, h);
        h = feed_forward(b, h + attend(b.self, x, x, borders, borders, /*causal=*/false));
    }
    return norm(encoder_norm_, h);
}

Tensor TrainableWhisper::decode(const Tensor& ids, const Tensor& borders, const Tensor& encoded,
                                const Tensor& frame_borders) const {
    const Tensor at = places(borders, config_.max_target_positions, "tokens");
    Tensor h = wavllm::embedding(embedding_, ids) + gather_rows(token_positions_, at);
    for (const Block& b : decoder_) {
        const Tensor x = norm(b.self.norm, h);
        h = h + attend(b.self, x, x, borders, borders, /*causal=*/true);
        h = h + attend(b.cross, norm(b.cross.norm, h), encoded, borders, frame_borders, /*causal=*/false);
        h = feed_forward(b, h);
    }
    return norm(decoder_norm_, h);
}

nlohmann::ordered_json config_json(const WhisperConfig& c) {
    return {{"architectures", {"WhisperForConditionalGeneration"}},
            {"model_type", "whisper"},
            {"d_model", c.dim},
            {"encoder_layers", c.encoder_layers},
            {"encoder_attention_heads", c.heads},
            {"encoder_ffn_dim", c.encoder_ffn},
            {"decoder_layers", c.decoder_layers},
            {"decoder_attention_heads", c.heads},
            {"decoder_ffn_dim", c.decoder_ffn},
            {"num_mel_bins", c.mels},
            {"max_source_positions", c.max_source_positions},
            {"max_target_positions", c.max_target_positions},
            {"activation_function", "gelu"},
            {"tie_word_embeddings", true},
            {"vocab_size", c.vocab}};
}

}  // namespace wavllm
