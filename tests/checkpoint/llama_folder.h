#pragma once
// A Hugging Face folder of a LLaMA of a few thousand parameters, tokenizer included.

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "models/checkpoint/checkpoint.h"
#include "models/llama/config.h"
#include "tensor/philox.h"
#include "tests/support/temp_folder.h"

namespace wavllm::tests {

/// Rows of whole blocks everywhere, two query heads to a key.
inline LlamaConfig block_llama_config() {
    LlamaConfig c;
    c.dim = 64;
    c.layers = 2;
    c.heads = 4;
    c.kv_heads = 2;
    c.ffn = 96;
    c.vocab = 272;
    c.max_positions = 128;
    c.norm_eps = 1e-5f;
    c.rope_theta = 10000;
    c.rope_layout = RopeLayout::half_split;
    return c;
}

/// Byte-level BPE: 256 bytes, three merges, three special tokens and one that is user defined.
inline std::string small_tokenizer_json() {
    const auto character = [](int code) {  // UTF-8
        return code < 0x80 ? std::string(1, static_cast<char>(code))
                           : std::string{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
    };
    nlohmann::ordered_json vocab, added = nlohmann::ordered_json::array();
    int id = 0, next = 256;
    for (int byte = 0; byte < 256; ++byte) {
        const bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        vocab[character(visible ? byte : next++)] = id++;
    }
    const std::string space = character(0x120);
    for (const std::string& token : {space + "t", std::string("he"), space + "the"}) vocab[token] = id++;
    for (const char* token : {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<code>"})
        added.push_back({{"id", id++}, {"content", token}, {"special", token[1] == '|'}});
    return nlohmann::ordered_json{
        {"added_tokens", added},
        {"normalizer", nullptr},
        {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
        {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {space + " t", "h e", space + "t he"}}}}}
        .dump();
}

/// Names and shapes of its tensors.
inline std::vector<std::pair<std::string, std::vector<int64_t>>> llama_tensors(const LlamaConfig& c, bool tied) {
    std::vector<std::pair<std::string, std::vector<int64_t>>> all{{"model.embed_tokens.weight", {c.vocab, c.dim}},
                                                                  {"model.norm.weight", {c.dim}}};
    if (!tied) all.push_back({"lm_head.weight", {c.vocab, c.dim}});
    const int64_t kv = c.kv_heads * c.head_dim();
    for (int64_t i = 0; i < c.layers; ++i) {
        const auto add = [&](const char* name, std::vector<int64_t> shape) {
            all.push_back({fmt::format("model.layers.{}.{}.weight", i, name), std::move(shape)});
        };
        add("input_layernorm", {c.dim});
        add("self_attn.q_proj", {c.dim, c.dim});
        add("self_attn.k_proj", {kv, c.dim});
        add("self_attn.v_proj", {kv, c.dim});
        add("self_attn.o_proj", {c.dim, c.dim});
        add("post_attention_layernorm", {c.dim});
        add("mlp.gate_proj", {c.ffn, c.dim});
        add("mlp.up_proj", {c.ffn, c.dim});
        add("mlp.down_proj", {c.dim, c.ffn});
    }
    return all;
}

/// Weights are uniform with standard deviation 1/sqrt(columns), norms between 0.5 and 1.5, all keyed by the tensor's name.
inline void write_llama_folder(const std::filesystem::path& folder, const LlamaConfig& c, bool tied) {
    std::filesystem::create_directories(folder);
    std::map<std::string, std::vector<float>> values;
    std::vector<TensorToStore> tensors;
    for (const auto& [name, shape] : llama_tensors(c, tied)) {
        std::vector<float>& v = values[name];
        v.resize(static_cast<size_t>(shape[0] * (shape.size() > 1 ? shape[1] : 1)));
        const Philox rng(11, name, 0);
        const float bound = shape.size() > 1 ? std::sqrt(3.0f / static_cast<float>(shape[1])) : 0.5f;
        for (size_t i = 0; i < v.size(); ++i)
            v[i] = (shape.size() > 1 ? 0.0f : 1.0f) + bound * (2 * rng.uniform(i) - 1);
        tensors.push_back({name, DType::f32, shape, std::as_bytes(std::span(v))});
    }
    write_safetensors(folder / "model.safetensors", tensors);
    const nlohmann::ordered_json config{{"model_type", "llama"},
                                        {"_name_or_path", "somebody/tiny-llama"},
                                        {"hidden_act", "silu"},
                                        {"hidden_size", c.dim},
                                        {"intermediate_size", c.ffn},
                                        {"num_hidden_layers", c.layers},
                                        {"num_attention_heads", c.heads},
                                        {"num_key_value_heads", c.kv_heads},
                                        {"max_position_embeddings", c.max_positions},
                                        {"rms_norm_eps", 1e-5},
                                        {"rope_theta", c.rope_theta},
                                        {"tie_word_embeddings", tied},
                                        {"eos_token_id", nlohmann::json::array({261, 259})},
                                        {"vocab_size", c.vocab}};
    std::ofstream(folder / "config.json") << config.dump();
    std::ofstream(folder / "tokenizer.json") << small_tokenizer_json();
    std::ofstream(folder / "tokenizer_config.json")
        << R"({"bos_token": "<|im_start|>", "unk_token": {"content": "<|endoftext|>"}, "add_bos_token": false,
               "chat_template": "{{ messages }}"})";
}

}  // namespace wavllm::tests
