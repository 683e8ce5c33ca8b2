#pragma once
// Prompts as the language models were trained to read them, and their token ids around the speech embeddings.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/tokenizer.h"

namespace wavllm {

enum class ChatTemplate {
    llama2,  ///< "[INST]<<SYS>>…": WavLLM's own, with LLaMA-2-chat
    chatml,  ///< "<|im_start|>user…": SmolLM2, no system message
};

/// "llama2" or "chatml"; throws UsageError for another name.
ChatTemplate chat_template_of(std::string_view name);

/// A stretch of a prompt. Only a special part is a token of its own; text parts, whatever they say, are plain text:
/// "<|im_end|>" inside a user's prompt ends no turn.
struct PromptPart {
    std::string text;
    bool special = false;
};

/// What stands before and after the speech embeddings. Without speech all of it is in `left`.
struct Prompt {
    std::vector<PromptPart> left;
    std::vector<PromptPart> right;
    bool add_bos = false;

    std::string left_text() const;
    std::string right_text() const;
};

/// The prompt with `instruction` filled in.
/// with speech, LLaMA-2:  left  "[INST]<<SYS>>\n…\n<</SYS>>\n\n<SPEECH>"      right " </SPEECH> " + i + " [/INST]"
/// with speech, ChatML:   left  "<|im_start|>user\n<SPEECH>"
///                        right " </SPEECH> " + i + "<|im_end|>\n<|im_start|>assistant\n"
/// without speech the tags and the blanks beside them are left out. "<SPEECH>" is plain text in both.
Prompt make_prompt(ChatTemplate chat, std::string_view instruction, bool with_speech);

/// Token ids of one sample: left (BOS first where the template has one), speech, right, target with EOS. The three are
/// tokenised separately, as the released model was trained. Right keeps SentencePiece's leading "▁".
struct PromptIds {
    std::vector<int32_t> left;
    std::vector<int32_t> right;
    std::vector<int32_t> target;         ///< empty if there is no target
    std::vector<int32_t> instruction{};  ///< what the prompt adapter reads (prompt_adapter_ids); empty without one
};

/// Throws UsageError if the tokenizer lacks a special token of the template, BOS or EOS.
PromptIds prompt_ids(const Tokenizer& tokenizer, const Prompt& prompt,
                     std::optional<std::string_view> target = std::nullopt);

/// What the prompt adapter reads: the instruction in double quotes, no BOS (released WavLLM).
std::vector<int32_t> prompt_adapter_ids(const Tokenizer& tokenizer, std::string_view instruction);

}  // namespace wavllm
