// Prompts and targets to token ids with LLaMA-2's tokenizer, and ids back to text.

#include "data/chat_template.h"
#include "data/tokenizer/sentencepiece.h"
#include "wavllm/verify/golden_folder.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

void check_tokens(Tiny& t) {
    if (!t.c.wanted("tokens.json") && !t.c.wanted("llama_") && !t.c.wanted("prompt_adapter_")) return;
    const auto tokenizer = open_sentencepiece(t.data / "tokenizer" / "llama2.tokenizer.model");
    const auto prompt_of = [&](const nlohmann::json& row) {
        const auto target = row.at("target").get<std::string>();
        return prompt_ids(*tokenizer, make_prompt(ChatTemplate::llama2, row.at("prompt").get<std::string>(), true),
                          target);
    };
    const nlohmann::json& rows = t.tokens.at("rows");
    for (size_t i = 0; i < rows.size(); ++i) {
        const PromptIds ids = prompt_of(rows[i]);
        if (i == 0) t.c.computed("tokens.json", "left", ids_tensor(ids.left));
        const auto add = [&](const char* key, const std::vector<int32_t>& value) {
            t.c.computed("tokens.json", fmt::format("rows[{}].{}", i, key), ids_tensor(value));
        };
        add("right", ids.right);
        add("target_ids", ids.target);
        add("prompt_adapter", prompt_adapter_ids(*tokenizer, rows[i].at("prompt").get<std::string>()));
    }
    const nlohmann::json& decode = t.tokens.at("decode");
    for (size_t i = 0; i < decode.size(); ++i)
        t.c.computed("tokens.json", fmt::format("decode[{}].text", i),
                     text_tensor(tokenizer->decode(decode[i].at("ids").get<std::vector<int32_t>>())));

    for (const Sample& s : t.samples) {
        const PromptIds ids = prompt_of(rows[s.row]);
        std::vector<int32_t> text = ids.right;
        text.insert(text.end(), ids.target.begin(), ids.target.end() - 1);
        t.c.computed(s.file("llama"), "left_ids", ids_tensor(ids.left));
        t.c.computed(s.file("llama"), "text_ids", ids_tensor(text));
        t.c.computed(s.file("llama"), "target_ids", ids_tensor(ids.target));
        t.c.computed(s.file("prompt_adapter"), "ids",
                     ids_tensor(prompt_adapter_ids(*tokenizer, rows[s.row].at("prompt").get<std::string>())));
    }
}

}  // namespace wavllm::verify
