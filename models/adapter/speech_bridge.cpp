#include "models/adapter/speech_bridge.h"

#include <cmath>

#include "autograd/ops/columns.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/rms_norm.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/weighted_sum.h"
#include "kernels/common/check.h"
#include "tensor/model_dtype.h"

namespace wavllm {

namespace {

constexpr const char* kSemantic = "audio_encoder.";
constexpr const char* kAcoustic = "wavlm_encoder.";
constexpr double kOutputNormEps = 1e-8;

int64_t joined_width(const BridgeConfig& c) {
    return c.semantic.out + (c.acoustic ? c.acoustic->out : 0);
}

/// "wavlm_audio_proj" joins two branches, "audio_proj" widens one; a projector that already fits needs neither.
const char* projection_name(const BridgeConfig& c) {
    if (c.acoustic) return "wavlm_audio_proj";
    return joined_width(c) == c.llm_dim ? nullptr : "audio_proj";
}

}  // namespace

SpeechBridge::SpeechBridge(const BridgeConfig& config, uint64_t seed)
    : config_(config), semantic_(config.semantic, kSemantic, seed) {
    if (config.acoustic) {
        acoustic_.emplace(*config.acoustic, kAcoustic, seed);
        output_weights_ = constant_parameter({config.acoustic_layers}, 1, std::string(kAcoustic) + "output_weights");
    }
    if (const char* name = projection_name(config)) {
        const double bound = 1 / std::sqrt(static_cast<double>(joined_width(config)));
        projection_ =
            uniform_parameter({config.llm_dim, joined_width(config)}, bound, seed, std::string(name) + ".weight");
        bias_ = uniform_parameter({config.llm_dim}, bound, seed, std::string(name) + ".bias");
    }
    set_output_norm();
}

SpeechBridge SpeechBridge::load(const Weights& weights, const BridgeConfig& config) {
    SpeechBridge b;
    b.config_ = config;
    b.semantic_ = SpeechAdapter::load(weights, config.semantic, kSemantic);
    if (config.acoustic) {
        b.acoustic_ = SpeechAdapter::load(weights, *config.acoustic, kAcoustic);
        const std::string name = std::string(kAcoustic) + "output_weights";
        b.output_weights_ = make_parameter(weights.f32(name, {config.acoustic_layers}), name);
    }
    if (const char* name = projection_name(config)) {
        const std::string w = std::string(name) + ".weight", bias = std::string(name) + ".bias";
        b.projection_ = make_parameter(weights.f32(w, {config.llm_dim, joined_width(config)}), w);
        b.bias_ = make_parameter(weights.f32(bias, {config.llm_dim}), bias);
    }
    b.set_output_norm();
    return b;
}

void SpeechBridge::set_output_norm() {
    if (config_.output_norm <= 0) return;
    PurposeScope scope(Purpose::weights);
    output_scale_ = Tensor::full({config_.llm_dim}, config_.output_norm, model_dtype(), model_device());
}

Tensor SpeechBridge::join(const Tensor& semantic, Tensor& borders, const Tensor& acoustic,
                          const Tensor& acoustic_borders) const {
    const auto a = kernels::borders_of("speech_bridge", borders, semantic.dim(0));
    const auto b = kernels::borders_of("speech_bridge", acoustic_borders, acoustic.dim(0));
    Tensor joined = Tensor::empty(borders.shape(), DType::i64);
    int64_t* out = joined.mutable_data<int64_t>();
    out[0] = 0;
    for (size_t i = 1; i < a.size(); ++i) out[i] = out[i - 1] + std::min(a[i] - a[i - 1], b[i] - b[i - 1]);
    Tensor from_a = Tensor::empty({out[a.size() - 1]}, DType::i32), from_b = Tensor::empty(from_a.shape(), DType::i32);
    int32_t *pa = from_a.mutable_data<int32_t>(), *pb = from_b.mutable_data<int32_t>();
    for (size_t i = 1; i < a.size(); ++i)
        for (int64_t t = out[i - 1]; t < out[i]; ++t) {
            pa[t] = static_cast<int32_t>(a[i - 1] + t - out[i - 1]);
            pb[t] = static_cast<int32_t>(b[i - 1] + t - out[i - 1]);
        }
    borders = joined;
    return concat_columns(gather_rows(semantic, from_a), gather_rows(acoustic, from_b));
}

Tensor SpeechBridge::forward(const Tensor& semantic, Tensor& borders, const Tensor& acoustic,
                             const Tensor& acoustic_borders, const Observer* observer) const {
    const auto within = [&](const char* branch) {
        return Observer([=](const std::string& name, const Tensor& value) { (*observer)(branch + name, value); });
    };
    const Observer whisper = observer ? within("whisper.") : Observer(),
                   wavlm = observer ? within("wavlm.") : Observer();
    Tensor x = semantic_.forward(semantic, borders, observer ? &whisper : nullptr);
    if (acoustic_) {
        if (!acoustic.defined())
            throw ShapeError("speech_bridge: this model has a WavLM branch, but no hidden states were given");
        const Tensor mixed = weighted_sum(acoustic, output_weights_);
        observe(observer, "wavlm.weighted_sum", mixed);
        Tensor b = acoustic_borders;
        const Tensor y = acoustic_->forward(mixed, b, observer ? &wavlm : nullptr);
        x = join(x, borders, y, b);
        observe(observer, "joint_input", x);
    }
    if (projection_.defined()) x = linear(x, projection_, bias_);
    if (output_scale_.defined()) x = rms_norm(x, output_scale_, kOutputNormEps);
    observe(observer, "speech_embeddings", x);
    return x;
}

Parameters SpeechBridge::parameters() const {
    Parameters result;
    semantic_.append_parameters(result);
    if (acoustic_) {
        result.push_back({std::string(output_weights_.label()), output_weights_, "adapter"});
        acoustic_->append_parameters(result);
    }
    if (projection_.defined())
        for (const Tensor& t : {projection_, bias_}) result.push_back({std::string(t.label()), t, "adapter"});
    return result;
}

}  // namespace wavllm
