#include "models/wavllm/example.h"

#include <algorithm>

#include "kernels/common/check.h"

namespace wavllm {

int64_t SpeechExample::feature_rows() const {
    if (cached) return cached->rows;
    return features.defined() ? features.dim(0) : 0;
}

int64_t SpeechExample::feature_channels() const {
    if (cached) return cached->channels;
    return features.defined() ? features.dim(1) : 0;
}

Shape SpeechExample::acoustic_shape() const {
    if (cached) return cached->acoustic;
    return acoustic.defined() ? acoustic.shape() : Shape{0, 0, 0};
}

int64_t SpeechExample::speech_rows(const SpeechBridge& bridge) const {
    return bridge.rows(chunk_rows, acoustic_shape()[1]);
}

void SpeechExample::copy_features(float* to, float* acoustic_to, int64_t layer_stride) const {
    if (cached) return cached->copy_features(to, acoustic_to, layer_stride);
    if (features.defined()) dequantize(features.dtype(), features.raw(), to, static_cast<size_t>(features.numel()));
    if (!acoustic.defined() || acoustic_to == nullptr) return;
    for (int64_t l = 0; l < acoustic.dim(0); ++l) {
        const Tensor layer = acoustic.select(0, l);
        dequantize(layer.dtype(), layer.raw(), acoustic_to + l * layer_stride, static_cast<size_t>(layer.numel()));
    }
}

namespace {

/// WavLM's hidden states of a batch: layers and channels, which all examples with speech must have alike, and rows.
struct Acoustic {
    int64_t layers = -1, channels = 0, total = 0;
    std::vector<int64_t> rows{};

    void add(const SpeechExample& e) {
        const Shape s = e.acoustic_shape();
        if (layers < 0) layers = s[0], channels = s[2];
        if (s[0] != layers || s[2] != channels)
            throw ShapeError("batch: \"{}\" has {} layers of {} channels of WavLM, those before it {} of {}", e.id,
                             s[0], s[2], layers, channels);
        rows.push_back(s[1]);
        total += s[1];
    }
};

}  // namespace

std::vector<const SpeechExample*> pointers_to(std::span<const SpeechExample> examples, size_t most) {
    std::vector<const SpeechExample*> result;
    const size_t n = most > 0 ? std::min(most, examples.size()) : examples.size();
    for (size_t i = 0; i < n; ++i) result.push_back(&examples[i * examples.size() / n]);
    return result;
}

SpeechBatch make_batch(std::span<const SpeechExample* const> examples, bool with_targets, const SpeechBridge& bridge) {
    PurposeScope scope(Purpose::data);
    std::vector<PromptIds> ids;
    std::vector<int64_t> rows, speech_rows, keys;
    int64_t total = 0, channels = 0;
    std::vector<int64_t> clips;  // chunks of each clip
    Acoustic acoustic;
    for (const SpeechExample* e : examples) {
        ids.push_back(e->ids);
        if (!with_targets) ids.back().target.clear();
        speech_rows.push_back(e->speech_rows(bridge));
        rows.insert(rows.end(), e->chunk_rows.begin(), e->chunk_rows.end());
        keys.push_back(e->key);
        total += e->feature_rows();
        if (e->feature_rows() == 0) continue;
        if (channels == 0) channels = e->feature_channels();
        if (e->feature_channels() != channels)
            throw ShapeError("batch: the features of \"{}\" have {} channels, those before it {}", e->id,
                             e->feature_channels(), channels);
        clips.push_back(static_cast<int64_t>(e->chunk_rows.size()));
        acoustic.add(*e);
    }
    SpeechBatch batch;
    batch.plan = plan_sequences(ids, speech_rows, keys);
    batch.prompts = std::move(ids);
    batch.speech_rows = std::move(speech_rows);
    batch.keys = std::move(keys);
    if (total == 0) return batch;
    batch.features = Tensor::empty({total, channels});
    batch.feature_borders = kernels::make_borders(rows);
    batch.clip_borders = kernels::make_borders(clips);
    const int64_t layer = acoustic.total * acoustic.channels;
    float *out = batch.features.mutable_data<float>(), *acoustic_out = nullptr;
    if (acoustic.layers > 0) {
        batch.acoustic = Tensor::empty({acoustic.layers, acoustic.total, acoustic.channels});
        batch.acoustic_borders = kernels::make_borders(acoustic.rows);
        acoustic_out = batch.acoustic.mutable_data<float>();
    }
    for (const SpeechExample* e : examples) {
        if (e->feature_rows() == 0) continue;
        e->copy_features(out, acoustic_out, layer);
        out += e->feature_rows() * channels;
        if (acoustic_out != nullptr) acoustic_out += e->acoustic_shape()[1] * acoustic.channels;
    }
    return batch;
}

}  // namespace wavllm
