#include "models/llama/config.h"

namespace wavllm {

namespace {

template <class T>
T value(const Checkpoint& checkpoint, const nlohmann::json& object, const char* key) {
    const auto it = object.find(key);
    if (it == object.end() || !it->is_number())
        throw FileError("{}: its metadata has no number \"{}\"; is it a LLaMA-architecture model?",
                        checkpoint.path().string(), key);
    return it->get<T>();
}

LlamaConfig from_gguf(const Checkpoint& c) {
    const nlohmann::json& m = c.metadata();
    if (m.value("general.architecture", "") != "llama")
        throw FileError("{}: architecture \"{}\"; only \"llama\" is supported", c.path().string(),
                        m.value("general.architecture", "(none)"));
    LlamaConfig k;
    k.dim = value<int64_t>(c, m, "llama.embedding_length");
    k.layers = value<int64_t>(c, m, "llama.block_count");
    k.heads = value<int64_t>(c, m, "llama.attention.head_count");
    k.kv_heads =
        m.contains("llama.attention.head_count_kv") ? value<int64_t>(c, m, "llama.attention.head_count_kv") : k.heads;
    k.ffn = value<int64_t>(c, m, "llama.feed_forward_length");
    k.norm_eps = value<double>(c, m, "llama.attention.layer_norm_rms_epsilon");
    k.max_positions = value<int64_t>(c, m, "llama.context_length");
    if (m.contains("llama.rope.freq_base")) k.rope_theta = value<double>(c, m, "llama.rope.freq_base");
    k.vocab = c.at("token_embd.weight").shape.at(0);
    k.rope_layout = RopeLayout::interleaved;  // q and k are stored permuted for it
    return k;
}

/// Variants of Hugging Face's LlamaForCausalLM that compute something else than Llama does.
void check_variant(const Checkpoint& c, const nlohmann::json& m) {
    const auto refuse = [&](const char* key, const nlohmann::json& only) {
        const auto it = m.find(key);
        if (it != m.end() && !it->is_null() && *it != only)
            throw FileError("{}: config.json says {} = {}, but only {} is supported", c.path().string(), key,
                            it->dump(), only.dump());
    };
    refuse("model_type", "llama");
    refuse("hidden_act", "silu");
    refuse("rope_scaling", nullptr);  // LLaMA 3.1 and longer contexts
    refuse("attention_bias", false);
    refuse("mlp_bias", false);
    if (m.contains("head_dim") && !m["head_dim"].is_null())
        refuse("head_dim", value<int64_t>(c, m, "hidden_size") / value<int64_t>(c, m, "num_attention_heads"));
    // without the output matrix the embedding is used for it: only where the model says so
    const bool tied = m.contains("tie_word_embeddings") && m["tie_word_embeddings"] == true;
    if (!tied && c.find("model.embed_tokens.weight") != nullptr && c.find("lm_head.weight") == nullptr)
        throw FileError("{}: it has no lm_head.weight, and config.json does not say \"tie_word_embeddings\": true",
                        c.path().string());
}

LlamaConfig from_hugging_face(const Checkpoint& c) {
    const auto it = c.metadata().find("config");
    if (it == c.metadata().end())
        throw FileError("{}: no config.json beside the weights; give the folder that holds both", c.path().string());
    const nlohmann::json& m = *it;
    if (m.contains("num_attention_heads") && m["num_attention_heads"] == 0)
        throw FileError("{}: config.json says num_attention_heads = 0", c.path().string());
    check_variant(c, m);
    LlamaConfig k;
    k.dim = value<int64_t>(c, m, "hidden_size");
    k.layers = value<int64_t>(c, m, "num_hidden_layers");
    k.heads = value<int64_t>(c, m, "num_attention_heads");
    k.kv_heads = m.contains("num_key_value_heads") ? value<int64_t>(c, m, "num_key_value_heads") : k.heads;
    k.ffn = value<int64_t>(c, m, "intermediate_size");
    k.vocab = value<int64_t>(c, m, "vocab_size");
    k.norm_eps = value<double>(c, m, "rms_norm_eps");
    k.max_positions = value<int64_t>(c, m, "max_position_embeddings");
    if (m.contains("rope_theta")) k.rope_theta = value<double>(c, m, "rope_theta");
    k.rope_layout = RopeLayout::half_split;
    return k;
}

}  // namespace

void LlamaConfig::check() const {
    const auto positive = [](const char* name, int64_t v) {
        if (v <= 0 || v > int64_t{1} << 31) throw UsageError("llama: {} = {} is out of range", name, v);
    };
    positive("dim", dim);
    positive("layers", layers);
    positive("heads", heads);
    positive("kv_heads", kv_heads);
    positive("ffn", ffn);
    positive("vocab", vocab);
    positive("max_positions", max_positions);
    if (dim % heads != 0 || heads % kv_heads != 0 || head_dim() % 2 != 0)
        throw UsageError("llama: dim {}, heads {} and kv_heads {} do not divide into heads of an even size", dim, heads,
                         kv_heads);
}

LlamaConfig llama_config(const Checkpoint& checkpoint) {
    LlamaConfig config = checkpoint.format() == "gguf" ? from_gguf(checkpoint) : from_hugging_face(checkpoint);
    config.check();
    return config;
}

}  // namespace wavllm
