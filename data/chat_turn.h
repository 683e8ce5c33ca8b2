#pragma once
// A conversation's later turns.

#include "data/chat_template.h"

namespace wavllm {

/// The prompt of a turn that is not the first (that one is make_prompt's). Behind the answer to the turn before stands its
/// EOS; then LLaMA-2's template goes on with BOS and "[INST]", without the system text, ChatML's with the line break that
/// ends the answer's line.
Prompt make_turn(ChatTemplate chat, std::string_view instruction, bool with_speech);

}  // namespace wavllm
