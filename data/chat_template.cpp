#include "data/chat_template.h"

#include "data/chat_turn.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

constexpr std::string_view kLlama2System =
    "[INST]<<SYS>>\nAs a helpful language and speech assistant, you are able to understand the speech content provided "
    "by the user, and assist the user with a variety of tasks using natural language.\n<</SYS>>\n\n";

std::string joined(const std::vector<PromptPart>& parts) {
    std::string text;
    for (const PromptPart& part : parts) text += part.text;
    return text;
}

/// Neighbouring text parts are tokenised as one text: only special tokens cut it.
void append_ids(const Tokenizer& tokenizer, const std::vector<PromptPart>& parts, std::vector<int32_t>& ids) {
    std::string plain;
    const auto flush = [&] {
        const auto more = tokenizer.encode(plain);
        ids.insert(ids.end(), more.begin(), more.end());
        plain.clear();
    };
    for (const PromptPart& part : parts) {
        if (!part.special) {
            plain += part.text;
            continue;
        }
        flush();
        const auto id = tokenizer.id_of(part.text);
        if (!id || !tokenizer.is_special(*id))
            throw UsageError(
                "the chat template needs the special token \"{}\", which this tokenizer lacks: choose the "
                "template that belongs to the model",
                printable(part.text));
        ids.push_back(*id);
    }
    flush();
}

}  // namespace

ChatTemplate chat_template_of(std::string_view name) {
    if (name == "llama2") return ChatTemplate::llama2;
    if (name == "chatml") return ChatTemplate::chatml;
    throw UsageError("the chat template should be llama2 or chatml, but is \"{}\"", printable(name));
}

std::string Prompt::left_text() const {
    return joined(left);
}

std::string Prompt::right_text() const {
    return joined(right);
}

Prompt make_prompt(ChatTemplate chat, std::string_view instruction, bool with_speech) {
    Prompt prompt;
    prompt.add_bos = chat == ChatTemplate::llama2;
    std::vector<PromptPart>& left = prompt.left;
    if (chat == ChatTemplate::llama2)
        left.emplace_back().text = kLlama2System;
    else
        left.insert(left.end(), {{"<|im_start|>", true}, {"user\n"}});
    if (with_speech) left.push_back({"<SPEECH>"});

    std::vector<PromptPart>& rest = with_speech ? prompt.right : prompt.left;
    if (with_speech) rest.push_back({" </SPEECH> "});
    rest.push_back({std::string(instruction)});
    if (chat == ChatTemplate::llama2)
        rest.push_back({" [/INST]"});
    else
        rest.insert(rest.end(), {{"<|im_end|>", true}, {"\n"}, {"<|im_start|>", true}, {"assistant\n"}});
    return prompt;
}

Prompt make_turn(ChatTemplate chat, std::string_view instruction, bool with_speech) {
    Prompt prompt = make_prompt(chat, instruction, with_speech);
    if (chat == ChatTemplate::llama2)
        prompt.left.front().text = "[INST]";
    else
        prompt.left.insert(prompt.left.begin(), {"\n"});
    return prompt;
}

PromptIds prompt_ids(const Tokenizer& tokenizer, const Prompt& prompt, std::optional<std::string_view> target) {
    PromptIds ids;
    if (prompt.add_bos) {
        if (!tokenizer.bos()) throw UsageError("the chat template begins with BOS, which this tokenizer lacks");
        ids.left.push_back(*tokenizer.bos());
    }
    append_ids(tokenizer, prompt.left, ids.left);
    append_ids(tokenizer, prompt.right, ids.right);
    if (target) {
        if (!tokenizer.eos()) throw UsageError("a target ends with EOS, which this tokenizer lacks");
        ids.target = tokenizer.encode(*target);
        ids.target.push_back(*tokenizer.eos());
    }
    return ids;
}

std::vector<int32_t> prompt_adapter_ids(const Tokenizer& tokenizer, std::string_view instruction) {
    return tokenizer.encode("\"" + std::string(instruction) + "\"");
}

}  // namespace wavllm
