// A preset in words.

#include <fmt/format.h>

#include <algorithm>

#include "kernels/linear/packed_weight.h"
#include "wavllm/report/sections.h"

namespace wavllm {

namespace {

std::string names(const std::vector<Stage>& stages) {
    std::string text;
    for (const Stage& s : stages) text += fmt::format("{}{} ({} steps)", text.empty() ? "" : ", ", s.name, s.steps);
    return text;
}

std::string percent(double share) {
    return fmt::format("{:g} %", 100 * share);
}

std::string lengths(const Stage& s) {
    if (s.min_seconds > 0 && s.max_seconds > 0) return fmt::format("{:g} to {:g} s", s.min_seconds, s.max_seconds);
    if (s.min_seconds > 0) return fmt::format("from {:g} s", s.min_seconds);
    return s.max_seconds > 0 ? fmt::format("up to {:g} s", s.max_seconds) : "all lengths";
}

}  // namespace

std::string sentence(const Preset& p) {
    const std::vector<Stage> stages = p.all_stages();
    bool lora = false;
    for (const Stage& s : stages) lora = lora || s.does_train("lora");
    const std::string trained = lora ? fmt::format("a trained adapter and LoRA of rank {} let", p.lora.rank)
                                     : std::string("a trained adapter lets");
    const std::string ears = p.model.wavlm.empty()
                                 ? fmt::format("frozen {} hears", p.model.whisper)
                                 : fmt::format("frozen {} and {} hear", p.model.whisper, p.model.wavlm);
    return fmt::format("A speech LLM: {}, {} frozen {} understand it. {}: {}.", ears, trained, p.model.llm,
                       stages.size() == 1 ? "One stage" : fmt::format("{} stages", stages.size()), names(stages));
}

Json additions(const Preset& p) {
    Json list = Json::array();
    const auto add = [&](const char* name, bool on, const std::string& what) {
        list.push_back({{"name", name}, {"on", on}, {"what", on ? what : ""}});
    };
    const std::vector<Stage> stages = p.all_stages();
    std::vector<Stage> warm, with_ctc, beside, adapter_only;
    double time_mask = 0, channel_mask = 0, dropout = 0;
    for (const Stage& s : stages) {
        if (s.ctc_weight > 0 && s.ce_weight == 0) warm.push_back(s);
        if (s.ctc_weight > 0 && s.ce_weight > 0) beside.push_back(s);
        if (s.ce_weight > 0 && s.trains == "adapter") adapter_only.push_back(s);
        time_mask = std::max(time_mask, s.time_mask);
        channel_mask = std::max(channel_mask, s.channel_mask);
        dropout = std::max(dropout, s.feature_dropout);
    }
    add("CTC warm start", !warm.empty(), "on the LLM's token embeddings, the LLM not running: " + names(warm));
    add("adapter alone", !adapter_only.empty(), "before LoRA joins in: " + names(adapter_only));
    add("CTC beside cross-entropy", !beside.empty(),
        beside.empty() ? "" : fmt::format("weight {:g}: {}", beside.front().ctc_weight, names(beside)));
    add("pieces for CTC", p.ctc.merges > 0, fmt::format("of the vocabulary's first {} merges", p.ctc.merges));
    add("blanks dropped", p.ctc.drop_blanks,
        p.ctc.drop_repeats ? "and repeats: rows that say nothing new are kept from the LLM"
                           : "rows that say nothing are kept from the LLM");
    add("draft", p.ctc.draft, "the CTC head's own transcript stands before the LLM as text");
    add("output norm", p.adapter.output_norm, "of the adapter, to the RMS of the LLM's embeddings");
    add("time masks", time_mask > 0, "on up to " + percent(time_mask) + " of the frames");
    add("channel masks", channel_mask > 0, "on up to " + percent(channel_mask) + " of the channels");
    add("feature dropout", dropout > 0, "of up to " + percent(dropout));
    add("stages", stages.size() > 1, fmt::format("{} of them, each with its own rates and data", stages.size()));
    add("short padding", p.model.encoder_padding != "30s", "of the encoder's input: own length and 1 s, not 30 s");
    const DType frozen = frozen_dtype(p.model.frozen_dtype);
    add("bf16 weights", frozen == DType::bf16, "for the frozen models, sums in f32");
    if (info(frozen).frozen_block)
        add("quantised weights", true,
            fmt::format("{} for the frozen models' matrices; products in bf16, sums in f32", name(frozen)));
    return list;
}

Json stages(const Preset& p) {
    Json list = Json::array();
    int64_t begin = 0;
    for (const Stage& s : p.all_stages()) {
        list.push_back({{"name", s.name},
                        {"begin", begin},
                        {"end", begin + s.steps},
                        {"trains", s.trains},
                        {"ce_weight", s.ce_weight},
                        {"ctc_weight", s.ctc_weight},
                        {"lengths", lengths(s)},
                        {"rates",
                         {{"adapter", s.does_train("adapter") ? s.adapter_rate : 0},
                          {"lora", s.does_train("lora") ? s.lora_rate : 0},
                          {"ctc", s.ctc_weight > 0 ? s.adapter_rate : 0},
                          {"prompt", s.does_train("prompt") ? s.prompt_rate : 0}}}});
        begin += s.steps;
    }
    return list;
}

}  // namespace wavllm
