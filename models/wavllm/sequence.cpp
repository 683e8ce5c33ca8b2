#include "models/wavllm/sequence.h"

namespace wavllm {

namespace {

Tensor tensor_of(const std::vector<int32_t>& v) {
    return Tensor::from(v, {static_cast<int64_t>(v.size())});
}
Tensor tensor_of(const std::vector<int64_t>& v) {
    return Tensor::from(v, {static_cast<int64_t>(v.size())});
}

}  // namespace

SequencePlan plan_sequences(std::span<const PromptIds> samples, std::span<const int64_t> speech_rows,
                            std::span<const int64_t> keys) {
    if (samples.size() != speech_rows.size() || samples.size() != keys.size())
        throw ShapeError("plan_sequences: {} samples, {} speech lengths, {} keys", samples.size(), speech_rows.size(),
                         keys.size());
    PurposeScope scope(Purpose::data);
    std::vector<int32_t> text, plan, positions, target_rows, targets;
    std::vector<int64_t> borders{0}, target_borders{0}, row_keys;
    int32_t speech = 0;
    for (size_t s = 0; s < samples.size(); ++s) {
        const PromptIds& p = samples[s];
        const auto add_text = [&](int32_t id) {
            plan.push_back(static_cast<int32_t>(text.size()));
            text.push_back(id);
        };
        for (int32_t id : p.left) add_text(id);
        for (int64_t i = 0; i < speech_rows[s]; ++i) plan.push_back(-1 - speech++);
        for (int32_t id : p.right) add_text(id);
        for (size_t i = 0; i < p.target.size(); ++i) {
            target_rows.push_back(static_cast<int32_t>(plan.size()) - 1);  // the row before predicts it
            targets.push_back(p.target[i]);
            if (i + 1 < p.target.size()) add_text(p.target[i]);
        }
        const int64_t begin = borders.back(), end = static_cast<int64_t>(plan.size());
        for (int64_t t = begin; t < end; ++t) {
            positions.push_back(static_cast<int32_t>(t - begin));
            row_keys.push_back((keys[s] << 20) + (t - begin));
        }
        borders.push_back(end);
        target_borders.push_back(static_cast<int64_t>(targets.size()));
    }
    return {tensor_of(text),        tensor_of(plan),    tensor_of(borders),        tensor_of(positions),
            tensor_of(target_rows), tensor_of(targets), tensor_of(target_borders), tensor_of(row_keys)};
}

}  // namespace wavllm
