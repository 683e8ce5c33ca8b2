#include "models/llama/config.h"

#include <cmath>

#include "tensor/text.h"

namespace wavllm {

namespace {

/// As it stands in the file, which need not be UTF-8.
std::string shown(const nlohmann::json& value) {
    return printable(value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
}

const nlohmann::json& number(const Checkpoint& c, const nlohmann::json& object, const char* key) {
    const auto it = object.find(key);
    if (it == object.end() || !it->is_number())
        throw FileError("{}: its metadata has no number \"{}\"; is it a LLaMA-architecture model?", c.path().string(),
                        key);
    return *it;
}

/// A number of rows, heads, layers and the like.
int64_t size(const Checkpoint& c, const nlohmann::json& object, const char* key) {
    constexpr int64_t kLargest = int64_t{1} << 31;
    const nlohmann::json& v = number(c, object, key);
    // a double, or an integer beyond 63 bits, is no int64_t
    const bool whole = v.is_number_unsigned() ? v.get<uint64_t>() <= kLargest : v.is_number_integer();
    if (!whole || v.get<int64_t>() < 1 || v.get<int64_t>() > kLargest)
        throw FileError("{}: \"{}\" should be a whole number from 1 to {}, but is {}", c.path().string(), key, kLargest,
                        shown(v));
    return v.get<int64_t>();
}

/// norm_eps, rope_theta.
double positive_number(const Checkpoint& c, const nlohmann::json& object, const char* key) {
    const nlohmann::json& v = number(c, object, key);
    if (!(std::isfinite(v.get<double>()) && v.get<double>() > 0))
        throw FileError("{}: \"{}\" should be a positive number, but is {}", c.path().string(), key, shown(v));
    return v.get<double>();
}

/// Throws FileError if `object` has this key with another value; `says` is who says it. null is as good as nothing.
void refuse_other(const Checkpoint& c, const char* says, const nlohmann::json& object, const char* key,
                  const nlohmann::json& only) {
    const auto it = object.find(key);
    if (it != object.end() && !it->is_null() && *it != only)
        throw FileError("{}: {} {} = {}, but only {} is supported", c.path().string(), says, key, shown(*it),
                        only.dump());
}

/// Metadata of a GGUF with which llama.cpp turns rows of q and k by other angles than Llama does. Hugging Face's folders
/// say the same by rope_scaling and head_dim.
void check_rope(const Checkpoint& c, const LlamaConfig& k) {
    const nlohmann::json& m = c.metadata();
    const auto refuse = [&](const char* key, const nlohmann::json& only) {
        refuse_other(c, "its metadata say", m, key, only);
    };
    refuse("llama.rope.scaling.type", "none");
    if (!m.contains("llama.rope.scaling.type"))  // then a factor alone means linear scaling; 0: none
        for (const char* key : {"llama.rope.scaling.factor", "llama.rope.scale_linear"})
            if (m.contains(key) && m[key] != 0) refuse(key, 1);
    for (const char* key : {"llama.rope.dimension_count", "llama.attention.key_length", "llama.attention.value_length"})
        refuse(key, k.head_dim());
    const StoredTensor* factors = c.find("rope_freqs.weight");
    if (factors == nullptr) return;
    if (factors->shape != std::vector{k.head_dim() / 2} || !info(factors->dtype).floating)
        throw FileError("{}: tensor \"rope_freqs.weight\" is {} [{}], but the frequencies are {} real numbers",
                        c.path().string(), name(factors->dtype), fmt::join(factors->shape, ", "), k.head_dim() / 2);
    std::vector<float> values(static_cast<size_t>(k.head_dim() / 2));
    c.row(*factors, 0, values.data());
    for (const float factor : values)
        if (!(factor == 1))
            throw FileError(
                "{}: tensor \"rope_freqs.weight\" divides frequencies by {} (LLaMA 3.1 and later, for longer "
                "contexts), "
                "which is not supported; take a LLaMA without it",
                c.path().string(), factor);
}

LlamaConfig from_gguf(const Checkpoint& c) {
    const nlohmann::json& m = c.metadata();
    const auto architecture = m.find("general.architecture");
    if (architecture == m.end() || *architecture != "llama")
        throw FileError("{}: architecture {}; only \"llama\" is supported", c.path().string(),
                        architecture == m.end() ? "(none)" : shown(*architecture));
    LlamaConfig k;
    k.dim = size(c, m, "llama.embedding_length");
    k.layers = size(c, m, "llama.block_count");
    k.heads = size(c, m, "llama.attention.head_count");
    k.kv_heads = m.contains("llama.attention.head_count_kv") ? size(c, m, "llama.attention.head_count_kv") : k.heads;
    k.ffn = size(c, m, "llama.feed_forward_length");
    k.norm_eps = positive_number(c, m, "llama.attention.layer_norm_rms_epsilon");
    k.max_positions = size(c, m, "llama.context_length");
    if (m.contains("llama.rope.freq_base")) k.rope_theta = positive_number(c, m, "llama.rope.freq_base");
    const StoredTensor& embedding = c.at("token_embd.weight");
    if (embedding.shape.size() != 2)
        throw FileError("{}: tensor \"token_embd.weight\" has the shape [{}], but should be a matrix",
                        c.path().string(), fmt::join(embedding.shape, ", "));
    k.vocab = embedding.shape[0];
    k.rope_layout = RopeLayout::interleaved;  // q and k are stored permuted for it
    check_rope(c, k);
    return k;
}

/// Variants of Hugging Face's LlamaForCausalLM that compute something else than Llama does.
void check_variant(const Checkpoint& c, const nlohmann::json& m) {
    const auto refuse = [&](const char* key, const nlohmann::json& only) {
        refuse_other(c, "config.json says", m, key, only);
    };
    refuse("model_type", "llama");
    refuse("hidden_act", "silu");
    refuse("rope_scaling", nullptr);  // LLaMA 3.1 and longer contexts
    refuse("attention_bias", false);
    refuse("mlp_bias", false);
    if (m.contains("head_dim") && !m["head_dim"].is_null())
        refuse("head_dim", size(c, m, "hidden_size") / size(c, m, "num_attention_heads"));
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
    check_variant(c, m);
    LlamaConfig k;
    k.dim = size(c, m, "hidden_size");
    k.layers = size(c, m, "num_hidden_layers");
    k.heads = size(c, m, "num_attention_heads");
    k.kv_heads = m.contains("num_key_value_heads") ? size(c, m, "num_key_value_heads") : k.heads;
    k.ffn = size(c, m, "intermediate_size");
    k.vocab = size(c, m, "vocab_size");
    k.norm_eps = positive_number(c, m, "rms_norm_eps");
    k.max_positions = size(c, m, "max_position_embeddings");
    if (m.contains("rope_theta")) k.rope_theta = positive_number(c, m, "rope_theta");
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
