#include "models/wavllm/example.h"

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

void SpeechExample::copy_features(float* to) const {
    if (cached) return cached->copy_features(to);
    if (features.defined()) dequantize(features.dtype(), features.raw(), to, static_cast<size_t>(features.numel()));
}

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
    for (const SpeechExample* e : examples) {
        ids.push_back(e->ids);
        if (!with_targets) ids.back().target.clear();
        speech_rows.push_back(0);
        for (int64_t n : e->chunk_rows) {
            rows.push_back(n);
            speech_rows.back() += bridge.rows(n);
        }
        keys.push_back(e->key);
        total += e->feature_rows();
        if (e->feature_rows() == 0) continue;
        if (channels == 0) channels = e->feature_channels();
        if (e->feature_channels() != channels)
            throw ShapeError("batch: the features of \"{}\" have {} channels, those before it {}", e->id,
                             e->feature_channels(), channels);
    }
    SpeechBatch batch;
    batch.plan = plan_sequences(ids, speech_rows, keys);
    batch.prompts = std::move(ids);
    batch.speech_rows = std::move(speech_rows);
    batch.keys = std::move(keys);
    if (total == 0) return batch;
    batch.features = Tensor::empty({total, channels});
    batch.feature_borders = kernels::make_borders(rows);
    float* out = batch.features.mutable_data<float>();
    for (const SpeechExample* e : examples) {
        e->copy_features(out);
        out += e->feature_rows() * channels;
    }
    return batch;
}

}  // namespace wavllm
