#include "models/wavllm/example.h"

#include <cstring>

#include "kernels/common/check.h"

namespace wavllm {

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
