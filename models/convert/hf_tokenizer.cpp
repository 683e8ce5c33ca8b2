#include "models/convert/hf_tokenizer.h"

#include <optional>
#include <set>

#include "data/tokenizer/sentencepiece_model.h"
#include "models/checkpoint/gguf_format.h"
#include "models/checkpoint/gguf_tokenizer.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

bool is_type(int32_t type, TokenType wanted) {
    return type == static_cast<int32_t>(wanted);
}

/// As hf_bpe_vocabulary and transformers read it back.
ordered_json pre_tokenizer(const std::string& pre) {
    const ordered_json bytes{
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
    if (pre != "smollm") return bytes;
    return {
        {"type", "Sequence"},
        {"pretokenizers", ordered_json::array({ordered_json{{"type", "Digits"}, {"individual_digits", true}}, bytes})}};
}

ordered_json added_token(const std::string& content, bool special) {
    return {{"content", content}, {"single_word", false}, {"lstrip", false},
            {"rstrip", false},    {"normalized", false},  {"special", special}};
}

}  // namespace

std::vector<std::string> write_hf_tokenizer(const std::filesystem::path& folder, const Checkpoint& gguf) {
    const json& m = gguf.metadata();
    tokenizer_from_gguf(gguf);  // throws where a list is missing, of the wrong type, or contradicts the others
    if (m["tokenizer.ggml.model"] == "llama") {
        write_file_atomically(folder / "tokenizer.model", sentencepiece_model_bytes(sentencepiece_of_gguf(gguf)));
        return {"tokenizer.model"};
    }
    const auto tokens = m["tokenizer.ggml.tokens"].get<std::vector<std::string>>();
    const auto types = m["tokenizer.ggml.token_type"].get<std::vector<int32_t>>();
    ordered_json vocab = ordered_json::object(), added = ordered_json::array(), decoder = ordered_json::object();
    std::set<std::string_view> seen;
    for (size_t id = 0; id < tokens.size(); ++id) {
        if (!seen.insert(tokens[id]).second || valid_utf8(tokens[id]) != tokens[id])
            throw FileError("{}: token {} \"{}\" is there twice or not in UTF-8, which tokenizer.json cannot hold",
                            gguf.path().string(), id, printable(tokens[id]));
        const bool control = is_type(types[id], TokenType::control);
        if (!control && !is_type(types[id], TokenType::user_defined)) continue;
        const ordered_json token = added_token(tokens[id], control);
        decoder[std::to_string(id)] = token;
        ordered_json with_id{{"id", id}};
        with_id.update(token);
        added.push_back(std::move(with_id));
    }
    // not by operator[], which searches all the keys that are there
    auto& entries = vocab.get_ref<ordered_json::object_t&>();
    for (size_t id = 0; id < tokens.size(); ++id) entries.push_back({tokens[id], id});
    const ordered_json tokenizer{
        {"version", "1.0"},
        {"truncation", nullptr},
        {"padding", nullptr},
        {"added_tokens", added},
        {"normalizer", nullptr},
        {"pre_tokenizer", pre_tokenizer(m["tokenizer.ggml.pre"].get<std::string>())},
        {"post_processor", nullptr},
        {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
        {"model",
         {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"vocab", std::move(vocab)},
          {"merges", m["tokenizer.ggml.merges"]}}}};
    write_file_atomically(folder / "tokenizer.json", tokenizer.dump(1) + '\n');

    ordered_json config{{"tokenizer_class", "PreTrainedTokenizerFast"},
                        {"add_prefix_space", false},
                        {"clean_up_tokenization_spaces", false},
                        {"added_tokens_decoder", decoder}};
    for (const auto& [name, key] : {std::pair("bos_token", "tokenizer.ggml.bos_token_id"),
                                    {"eos_token", "tokenizer.ggml.eos_token_id"},
                                    {"unk_token", "tokenizer.ggml.unknown_token_id"},
                                    {"pad_token", "tokenizer.ggml.padding_token_id"}})
        if (m.contains(key) && m[key].is_number_unsigned() && m[key].get<uint64_t>() < tokens.size())
            config[name] = tokens[m[key].get<size_t>()];
    for (const char* flag : {"add_bos_token", "add_eos_token"})
        if (const std::string key = std::string("tokenizer.ggml.") + flag; m.contains(key) && m[key].is_boolean())
            config[flag] = m[key];
    if (m.contains("tokenizer.chat_template") && m["tokenizer.chat_template"].is_string())
        config["chat_template"] = valid_utf8(m["tokenizer.chat_template"].get<std::string>());
    write_file_atomically(folder / "tokenizer_config.json", config.dump(2) + '\n');
    return {"tokenizer.json", "tokenizer_config.json"};
}

}  // namespace wavllm
