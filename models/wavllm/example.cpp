#include "models/wavllm/example.h"

#include <cstring>

#include "kernels/common/check.h"

namespace wavllm {

std::vector<const SpeechExample*> pointers_to(std::span<const SpeechExample> examples, size_t most) {
    std::vector<const SpeechExample*> result;
    const size_t n = most > 0 ? std::min(most, examples.size()) : examples.size();
    for (size_t i = 0; i < n; ++i) result.push_back(&examples[i * examples.size() / n]);
    return result;
}

SpeechBatch make_batch(std::span<const SpeechExample* const> examples, bool with_targets) {
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
            speech_rows.back() += SpeechAdapter::frames(n);
        }
        keys.push_back(e->key);
        if (!e->features.defined()) continue;
        total += e->features.dim(0);
        channels = e->features.dim(1);
    }
    SpeechBatch batch;
    batch.plan = plan_sequences(ids, speech_rows, keys);
    if (total == 0) return batch;
    batch.features = Tensor::empty({total, channels});
    batch.feature_borders = kernels::make_borders(rows);
    float* out = batch.features.mutable_data<float>();
    for (const SpeechExample* e : examples) {
        if (!e->features.defined()) continue;
        std::memcpy(out, e->features.data<float>(), e->features.bytes());
        out += e->features.numel();
    }
    return batch;
}

}  // namespace wavllm
