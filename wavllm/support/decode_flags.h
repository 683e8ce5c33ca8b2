#pragma once
// The options of commands that let an LLM answer: how its tokens are chosen.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/preset/preset.h"
#include "wavllm/command.h"

namespace wavllm {

/// What the user gave, on top of what the adapter's preset says.
struct DecodeFlags {
    std::optional<double> temperature, top_p, length_penalty, lora_scale;
    std::optional<int64_t> top_k, seed, beams;
    std::string compat;

    /// As values of a preset; the flags go over --compat.
    std::vector<std::string> overrides() const;
    bool any() const {
        return !overrides().empty();
    }
    /// Throws UsageError for a flag that does nothing: one of drawing where `p`, the preset with the overrides, draws no
    /// token, one of beam search where there is none. head: who answers (llm, ctc, joint).
    void check_used(const Preset& p, std::string_view head = "llm") const;
};

/// --temperature, --top-k, --top-p, --seed, --beams, --length-penalty; with_compat: --compat and --lora-scale too.
void add_decode_flags(cli::App& app, DecodeFlags& flags, bool with_compat);

}  // namespace wavllm
