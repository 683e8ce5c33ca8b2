#include "models/wavllm/sequence.h"

#include <algorithm>
#include <map>

namespace wavllm {

namespace {

Tensor tensor_of(const std::vector<int32_t>& v) {
    return Tensor::from(v, {static_cast<int64_t>(v.size())});
}
Tensor tensor_of(const std::vector<int64_t>& v) {
    return Tensor::from(v, {static_cast<int64_t>(v.size())});
}

/// An instruction that several samples share is there once.
void add_instructions(std::span<const PromptIds> samples, SequencePlan& plan) {
    if (std::all_of(samples.begin(), samples.end(), [](const PromptIds& p) { return p.instruction.empty(); })) return;
    std::map<std::vector<int32_t>, int32_t> first_row;
    std::vector<int32_t> ids, positions, rows;
    std::vector<int64_t> borders{0}, of{0};
    for (size_t s = 0; s < samples.size(); ++s) {
        const std::vector<int32_t>& own = samples[s].instruction;
        if (own.empty()) throw ShapeError("plan_sequences: others have an instruction, but sample {} has none", s);
        const auto [at, added] = first_row.try_emplace(own, static_cast<int32_t>(ids.size()));
        for (size_t i = 0; i < own.size(); ++i) {
            rows.push_back(at->second + static_cast<int32_t>(i));
            if (added) positions.push_back(static_cast<int32_t>(i));
        }
        of.push_back(static_cast<int64_t>(rows.size()));
        if (!added) continue;
        ids.insert(ids.end(), own.begin(), own.end());
        borders.push_back(static_cast<int64_t>(ids.size()));
    }
    plan.instructions = tensor_of(ids);
    plan.instruction_borders = tensor_of(borders);
    plan.instruction_positions = tensor_of(positions);
    plan.instruction_rows = tensor_of(rows);
    plan.instruction_of = tensor_of(of);
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
    SequencePlan result{tensor_of(text),        tensor_of(plan),    tensor_of(borders),        tensor_of(positions),
                        tensor_of(target_rows), tensor_of(targets), tensor_of(target_borders), tensor_of(row_keys)};
    add_instructions(samples, result);
    return result;
}

}  // namespace wavllm
