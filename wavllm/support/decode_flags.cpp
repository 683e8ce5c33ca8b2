#include "wavllm/support/decode_flags.h"

#include "models/preset/compat.h"
#include "tensor/error.h"

namespace wavllm {

std::vector<std::string> DecodeFlags::overrides() const {
    std::vector<std::string> values;
    if (!compat.empty()) {
        const auto group = compat_decoding(compat);
        values.assign(group.begin(), group.end());
    }
    const auto add = [&](const char* name, const auto& value) {
        if (value) values.push_back(fmt::format("decode.{}={}", name, *value));
    };
    add("temperature", temperature);
    add("top_k", top_k);
    add("top_p", top_p);
    add("seed", seed);
    add("beams", beams);
    add("length_penalty", length_penalty);
    add("lora_scale", lora_scale);
    return values;
}

void DecodeFlags::check_used(const Preset& p, std::string_view head) const {
    for (const auto& [flag, given] :
         {std::pair("--top-k", top_k.has_value()), {"--top-p", top_p.has_value()}, {"--seed", seed.has_value()}})
        if (given && p.decode.temperature == 0)
            throw UsageError("{}: no token is drawn at temperature 0; give --temperature above 0, too, or leave {} out",
                             flag, flag);
    if (length_penalty && head != "llm")
        throw UsageError("--length-penalty: it is for the LLM's beam search, and --head {} has none of its own kind",
                         head);
    if (length_penalty && p.decode.beams == 1)
        throw UsageError(
            "--length-penalty: one beam compares no lengths; give --beams above 1, too, or leave --length-penalty out");
    if (beams && head == "ctc") throw UsageError("--beams: --head ctc takes the likeliest path; leave --beams out");
}

void add_decode_flags(cli::App& app, DecodeFlags& flags, bool with_compat) {
    app.add_option("--temperature", flags.temperature,
                   "draw tokens, the wilder the higher; 0: always the likeliest one");
    app.add_option("--top-k", flags.top_k, "draw from the likeliest K tokens; 0: from all");
    app.add_option("--top-p", flags.top_p,
                   "draw from the likeliest tokens that hold this share of the mass; 1: from all");
    app.add_option("--seed", flags.seed, "of the draws; the same seed draws the same again (1)");
    app.add_option("--beams", flags.beams, "above 1: beam search for the likeliest text");
    app.add_option("--length-penalty", flags.length_penalty,
                   "of beam search: log p / tokens^penalty; higher ones favour long texts (1)");
    if (!with_compat) return;
    app.add_option(
        "--lora-scale", flags.lora_scale,
        "LoRA's strength, a multiple of the trained one: below 1 the model heeds the instruction more and its "
        "training less (1)");
    app.add_option("--compat", flags.compat,
                   "released: decode as the released code does (temperature 0.5, 512 tokens with the prompt, BOS "
                   "before it)");
}

}  // namespace wavllm
