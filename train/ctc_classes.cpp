#include "train/ctc_classes.h"

#include <algorithm>
#include <numeric>

#include "kernels/common/check.h"
#include "models/adapter/speech_adapter.h"
#include "tensor/philox.h"

namespace wavllm {

namespace {

std::span<const int32_t> transcript(const SpeechExample& e) {
    if (!e.transcript.empty()) return e.transcript;
    // the target without its end
    return std::span(e.ids.target).first(e.ids.target.empty() ? 0 : e.ids.target.size() - 1);
}

}  // namespace

CtcClasses::CtcClasses(std::span<const SpeechExample* const> texts, Config config) : config_(std::move(config)) {
    std::vector<int64_t> counts(static_cast<size_t>(config_.vocab));
    for (const SpeechExample* e : texts)
        for (int32_t id : transcript(*e)) ++counts[static_cast<size_t>(id)];
    frequent_.resize(counts.size());
    std::iota(frequent_.begin(), frequent_.end(), 0);
    std::stable_sort(frequent_.begin(), frequent_.end(), [&](int32_t a, int32_t b) {
        return counts[static_cast<size_t>(a)] > counts[static_cast<size_t>(b)];
    });
    frequent_.resize(std::min(frequent_.size(), static_cast<size_t>(config_.frequent)));
}

CtcTargets CtcClasses::targets(std::span<const SpeechExample* const> batch, uint32_t step) const {
    PurposeScope scope(Purpose::data);
    std::vector<int32_t> class_of(static_cast<size_t>(config_.vocab), -1), classes, targets;
    const auto add = [&](int32_t id) {
        int32_t& c = class_of[static_cast<size_t>(id)];
        if (c >= 0) return c;
        c = static_cast<int32_t>(classes.size());
        classes.push_back(id);
        return c;
    };
    std::vector<int64_t> rows, lengths;
    for (const SpeechExample* e : batch) {
        rows.push_back(e->speech_rows());
        for (int32_t id : transcript(*e)) targets.push_back(add(id));
        lengths.push_back(static_cast<int64_t>(transcript(*e).size()));
    }
    for (int32_t id : config_.always) add(id);
    for (int32_t id : frequent_) add(id);
    const Philox rng(config_.seed, "ctc.classes", step);
    for (int64_t i = 0; i < config_.random; ++i)
        add(static_cast<int32_t>(rng.bits(static_cast<uint64_t>(i)) % static_cast<uint32_t>(config_.vocab)));
    const auto tensor = [](const std::vector<int32_t>& v) { return Tensor::from(v, {static_cast<int64_t>(v.size())}); };
    return {tensor(classes), kernels::make_borders(rows), tensor(targets), kernels::make_borders(lengths)};
}

}  // namespace wavllm
