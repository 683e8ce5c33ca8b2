#include "models/preset/ranges.h"

#include "tensor/error.h"

namespace wavllm {

namespace {

enum class Ends { both, without_first, without_last };  // which ends belong to it

struct Range {
    double first, last;
    Ends ends = Ends::both;

    bool holds(double v) const {
        return (ends == Ends::without_first ? v > first : v >= first) &&
               (ends == Ends::without_last ? v < last : v <= last);
    }
    std::string text() const {
        return fmt::format("{} {:.12g} and {} {:.12g}", ends == Ends::without_first ? "above" : "at least", first,
                           ends == Ends::without_last ? "below" : "at most", last);
    }
};

constexpr double kSize = (1 << 20) - 1, kCount = 1e12, kMost = 9.2e18;
constexpr Range kWidth{1, kSize}, kOrNone{0, kSize}, kSome{1, kCount}, kAny{0, kCount}, kSeed{0, kMost}, kRate{0, 1e3},
    kFraction{0, 1}, kShare{0, 1, Ends::without_last}, kSeconds{0, 1e9}, kPositive{0, 1e9, Ends::without_first},
    kNotNegative{0, 1e9};

const std::map<std::string, Range>& ranges() {
    static const std::map<std::string, Range> all{
        {"model.norm_eps", kShare},
        {"adapter.mid", kWidth},
        {"adapter.acoustic_mid", kWidth},
        {"adapter.dim", kWidth},
        {"adapter.taps", {1, 63}},
        {"adapter.bottleneck", kWidth},
        {"adapter.out", kOrNone},
        {"connector.window", kWidth},
        {"connector.queries", kWidth},
        {"connector.dim", kWidth},
        {"connector.heads", kWidth},
        {"connector.ffn", kWidth},
        {"connector.layers", kWidth},
        {"connector.pool", kWidth},
        {"lora.rank", kWidth},
        {"lora.alpha", kPositive},
        {"lora.dropout", kShare},
        {"prompt_adapter.hidden", kOrNone},
        {"prompt_adapter.clamp", kNotNegative},
        {"decode.temperature", kNotNegative},
        {"decode.top_k", kAny},
        {"decode.top_p", {0, 1, Ends::without_first}},
        {"decode.seed", kSeed},
        {"decode.beams", {1, 1023}},
        {"decode.length_penalty", {-100, 100}},
        {"decode.lora_scale", kNotNegative},
        {"data.batch_seconds", kPositive},
        {"data.batch_clips", kSome},
        {"data.bucket_batches", kSome},
        {"data.max_new_tokens", kSome},
        {"ctc.merges", kAny},
        {"ctc.frequent", kAny},
        {"ctc.random", kAny},
        {"ctc.blank_margin", {-1e9, 1e9}},  // below 0 a token must beat the blank by so much
        {"train.steps", kSome},
        {"train.accumulate", kSome},
        {"train.seed", kSeed},
        {"train.adapter_rate", kRate},
        {"train.lora_rate", kRate},
        {"train.prompt_rate", kRate},
        {"train.warmup_steps", kAny},
        {"train.final_rate", kFraction},
        {"train.beta1", kShare},
        {"train.beta2", kShare},
        {"train.eps", {0, 1, Ends::without_first}},  // 0 would divide by 0 where a gradient is zero
        {"train.weight_decay", kRate},
        {"train.clip_norm", kNotNegative},
        {"train.save_every", kSome},
        {"train.keep", kSome},
        {"train.validate_every", kAny},
        {"train.validate_clips", kAny},
        {"stage.steps", kSome},
        {"stage.adapter_rate", kRate},
        {"stage.lora_rate", kRate},
        {"stage.prompt_rate", kRate},
        {"stage.warmup_steps", kAny},
        {"stage.final_rate", kFraction},
        {"stage.ce_weight", kNotNegative},
        {"stage.ctc_weight", kNotNegative},
        {"stage.min_seconds", kSeconds},
        {"stage.max_seconds", kSeconds},
        {"stage.batch_seconds", kPositive},
        {"stage.batch_clips", kSome},
        {"stage.time_mask", kShare},
        {"stage.time_mask_frames", kWidth},
        {"stage.channel_mask", kShare},
        {"stage.channel_mask_width", kWidth},
        {"stage.feature_dropout", kShare},
    };
    return all;
}

void check_number(const std::string& name, double v, const std::string& source) {
    const auto range = ranges().find(name);
    if (range == ranges().end()) throw UsageError("{}: {} has no range (models/preset/ranges.cpp)", source, name);
    if (!range->second.holds(v))
        throw UsageError("{}: {} must be {}, but is {}", source, name.starts_with("stage.") ? name.substr(6) : name,
                         range->second.text(), v);
}

}  // namespace

void check_ranges(const ValueTable& table, const std::string& source) {
    for (const auto& [name, value] : table) {
        if (const auto* whole = std::get_if<int64_t*>(&value))
            check_number(name, static_cast<double>(**whole), source);
        else if (const auto* number = std::get_if<double*>(&value))
            check_number(name, **number, source);
        else if (const auto* shares = std::get_if<Shares*>(&value))
            for (const auto& [set, share] : **shares)
                if (!kNotNegative.holds(share))
                    throw UsageError("{}: the share of \"{}\" must be {}, but is {}", source, set, kNotNegative.text(),
                                     share);
    }
}

}  // namespace wavllm
