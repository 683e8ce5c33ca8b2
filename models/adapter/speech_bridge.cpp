#include "models/adapter/speech_bridge.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/ops/linear.h"
#include "autograd/ops/rms_norm.h"
#include "autograd/ops/weighted_sum.h"
#include "kernels/common/check.h"
#include "models/connector/windows.h"

namespace wavllm {

namespace {

constexpr const char* kSemantic = "audio_encoder.";
constexpr const char* kAcoustic = "wavlm_encoder.";
constexpr float kOutputNormEps = 1e-8f;

bool has_adapters(const BridgeConfig& c) {
    return !c.qformer && !c.pooled;
}

bool hears_wavlm(const BridgeConfig& c) {
    return has_adapters(c) ? c.acoustic.has_value() : c.qformer && c.qformer->acoustic_in > 0;
}

int64_t joined_width(const BridgeConfig& c) {
    return c.semantic.out + (c.acoustic ? c.acoustic->out : 0);
}

/// "wavlm_audio_proj" joins two branches, "audio_proj" widens one; a projector that already fits needs neither.
const char* projection_name(const BridgeConfig& c) {
    if (!has_adapters(c)) return nullptr;
    if (c.acoustic) return "wavlm_audio_proj";
    return joined_width(c) == c.llm_dim ? nullptr : "audio_proj";
}

/// Borders of chunks to those of clips; as they are without `clips`.
Tensor by_clip(const Tensor& borders, const Tensor& clips) {
    if (!clips.defined()) return borders;
    const auto first = kernels::borders_of("speech_bridge", clips, borders.numel() - 1);
    Tensor result = Tensor::empty(clips.shape(), DType::i64);
    for (size_t i = 0; i < first.size(); ++i) result.mutable_data<int64_t>()[i] = borders.data<int64_t>()[first[i]];
    return result;
}

/// "subsampled" of the Whisper branch is "whisper.subsampled".
Observer within(const Observer* observer, const char* branch) {
    if (!observer) return {};
    return [=](const std::string& name, const Tensor& value) { (*observer)(branch + name, value); };
}

}  // namespace

/// What does not belong to an adapter or a connector; parameter(name, shape, fan_in), fan_in 0 for constant ones.
template <class Make>
void SpeechBridge::make(const BridgeConfig& config, Make&& parameter) {
    config_ = config;
    if (hears_wavlm(config))
        output_weights_ = parameter(std::string(kAcoustic) + "output_weights", Shape{config.acoustic_layers}, 0);
    if (const char* name = projection_name(config)) {
        const int64_t width = joined_width(config);
        projection_ = parameter(std::string(name) + ".weight", Shape{config.llm_dim, width}, width);
        bias_ = parameter(std::string(name) + ".bias", Shape{config.llm_dim}, width);
    }
    set_output_norm();
}

SpeechBridge::SpeechBridge(const BridgeConfig& config, uint64_t seed) {
    if (config.qformer)
        qformer_.emplace(*config.qformer, seed);
    else if (config.pooled)
        pooled_.emplace(*config.pooled, seed);
    else
        semantic_ = SpeechAdapter(config.semantic, kSemantic, seed);
    if (has_adapters(config) && config.acoustic) acoustic_.emplace(*config.acoustic, kAcoustic, seed);
    make(config, [&](const std::string& name, const Shape& shape, int64_t fan_in) {
        if (fan_in == 0) return constant_parameter(shape, 1, name);
        return uniform_parameter(shape, 1 / std::sqrt(static_cast<double>(fan_in)), seed, name);
    });
}

SpeechBridge SpeechBridge::load(const Weights& weights, const BridgeConfig& config) {
    SpeechBridge b;
    if (config.qformer)
        b.qformer_ = QFormer::load(weights, *config.qformer);
    else if (config.pooled)
        b.pooled_ = PooledConnector::load(weights, *config.pooled);
    else
        b.semantic_ = SpeechAdapter::load(weights, config.semantic, kSemantic);
    if (has_adapters(config) && config.acoustic)
        b.acoustic_ = SpeechAdapter::load(weights, *config.acoustic, kAcoustic);
    b.make(config, [&](const std::string& name, const Shape& shape, int64_t) {
        return make_parameter(weights.f32(name, shape), name);
    });
    return b;
}

void SpeechBridge::set_output_norm() {
    if (config_.output_norm <= 0) return;
    PurposeScope scope(Purpose::weights);
    output_scale_ = Tensor::full({config_.llm_dim}, config_.output_norm, DType::f32, model_device());
}

Tensor SpeechBridge::adapted(const Tensor& semantic, Tensor& borders, const Tensor& acoustic,
                             const Tensor& acoustic_borders, const Observer* observer, const Tensor& clips) const {
    const Observer whisper = within(observer, "whisper."), wavlm = within(observer, "wavlm.");
    Tensor x = semantic_.forward(semantic, borders, observer ? &whisper : nullptr);
    borders = by_clip(borders, clips);
    if (acoustic_) {
        Tensor b = acoustic_borders;
        const Tensor y = acoustic_->forward(acoustic, b, observer ? &wavlm : nullptr);
        x = join_frames(x, borders, y, b);
        observe(observer, "joint_input", x);
    }
    return projection_.defined() ? linear(x, projection_, bias_) : x;
}

Tensor SpeechBridge::read(const Tensor& semantic, Tensor& borders, const Tensor& acoustic,
                          const Tensor& acoustic_borders, const Observer* observer, const Tensor& clips) const {
    // WavLM hears a clip whole: its frames stand beside those of all chunks before windows are cut
    const bool joins = acoustic.defined();
    if (joins) borders = by_clip(borders, clips);
    const Observer in_qformer = within(observer, "qformer."), in_pooled = within(observer, "pooled.");
    const Tensor x =
        qformer_ ? qformer_->forward(semantic, borders, acoustic, acoustic_borders, observer ? &in_qformer : nullptr)
                 : pooled_->forward(semantic, borders, observer ? &in_pooled : nullptr);
    if (!joins) borders = by_clip(borders, clips);
    return x;
}

Tensor SpeechBridge::forward(const Tensor& semantic, Tensor& borders, const Tensor& acoustic,
                             const Tensor& acoustic_borders, const Observer* observer, const Tensor& clips) const {
    if (hears_wavlm(config_) && !acoustic.defined())
        throw ShapeError("speech_bridge: this model has a WavLM branch, but no hidden states were given");
    if (!has_adapters(config_) && !hears_wavlm(config_) && acoustic.defined())
        throw ShapeError("speech_bridge: this connector hears Whisper alone, but hidden states of WavLM were given");
    Tensor mixed;
    if (hears_wavlm(config_)) {
        mixed = weighted_sum(acoustic, output_weights_);
        observe(observer, "wavlm.weighted_sum", mixed);
    }
    Tensor x = has_adapters(config_) ? adapted(semantic, borders, mixed, acoustic_borders, observer, clips)
                                     : read(semantic, borders, mixed, acoustic_borders, observer, clips);
    if (output_scale_.defined()) x = rms_norm(x, output_scale_, kOutputNormEps);
    observe(observer, "speech_embeddings", x);
    return x;
}

Parameters SpeechBridge::parameters() const {
    Parameters result;
    if (has_adapters(config_)) semantic_.append_parameters(result);
    if (output_weights_.defined()) result.push_back({std::string(output_weights_.label()), output_weights_, "adapter"});
    if (acoustic_) acoustic_->append_parameters(result);
    if (qformer_) qformer_->append_parameters(result);
    if (pooled_) pooled_->append_parameters(result);
    if (projection_.defined())
        for (const Tensor& t : {projection_, bias_}) result.push_back({std::string(t.label()), t, "adapter"});
    return result;
}

int64_t SpeechBridge::rows(int64_t t) const {
    return qformer_ ? qformer_->rows(t) : pooled_ ? pooled_->rows(t) : SpeechAdapter::frames(t);
}

int64_t SpeechBridge::rows(std::span<const int64_t> chunks, int64_t acoustic) const {
    if (qformer_ && acoustic > 0)
        return rows(std::min(std::accumulate(chunks.begin(), chunks.end(), int64_t{0}), acoustic));
    int64_t sum = 0;
    for (const int64_t t : chunks) sum += rows(t);
    return acoustic > 0 ? std::min(sum, rows(acoustic)) : sum;
}

}  // namespace wavllm
