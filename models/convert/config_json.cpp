#include "models/convert/config_json.h"

#include "models/checkpoint/released.h"
#include "tensor/error.h"

namespace wavllm {

namespace {

using nlohmann::ordered_json;

const char* torch_name(DType dtype) {
    switch (dtype) {
        case DType::f64: return "float64";
        case DType::f16: return "float16";
        case DType::bf16: return "bfloat16";
        default: return "float32";
    }
}

/// What most of the result's numbers are.
DType main_dtype(const Checkpoint& c, const ConvertOptions& o) {
    if (o.dtype) return *o.dtype;
    const StoredTensor* largest = nullptr;
    for (const StoredTensor& t : c.tensors())
        if (largest == nullptr || t.bytes.size() > largest->bytes.size()) largest = &t;
    return largest != nullptr ? largest->dtype : DType::f32;
}

int64_t heads(const ConvertOptions& o, int64_t dim, const char* part) {
    if (o.heads <= 0)
        throw UsageError(
            "convert: the configuration of the {} needs its number of heads, which no tensor tells: say --heads "
            "(LLaMA-2-7B has 32, Whisper large 20)",
            part);
    if (dim % o.heads != 0)
        throw UsageError("convert: --heads {} does not divide the {}'s width {}", o.heads, part, dim);
    return o.heads;
}

LlamaConfig released_llama(const ReleasedSizes& s, const ConvertOptions& o) {
    LlamaConfig k{.dim = s.dim, .layers = s.layers, .ffn = s.ffn, .vocab = s.vocab};
    k.heads = heads(o, s.dim, "LLaMA");
    k.kv_heads = k.heads;  // wk is square in this layout
    k.max_positions = 4096;
    k.norm_eps = 1e-6;  // what the released code computes with
    return k;
}

ordered_json part_json(const ReleasedSizes& s, const ConvertOptions& o) {
    if (o.part == ConvertPart::whisper) {
        const int64_t n = heads(o, s.whisper_dim, "Whisper");
        return {{"architectures", {"WhisperForConditionalGeneration"}},
                {"model_type", "whisper"},
                {"d_model", s.whisper_dim},
                {"encoder_layers", s.whisper_layers},
                {"encoder_attention_heads", n},
                {"encoder_ffn_dim", s.whisper_ffn},
                {"decoder_layers", 0},  // the released checkpoint has the encoder alone
                {"decoder_attention_heads", n},
                {"decoder_ffn_dim", s.whisper_ffn},
                {"num_mel_bins", s.mels},
                {"max_source_positions", s.positions},
                {"max_target_positions", 448},
                {"vocab_size", 51865}};
    }
    if (o.part == ConvertPart::wavlm) {
        std::vector<int64_t> channels, taps, strides;
        for (const auto& [c, t] : s.convolutions) {
            channels.push_back(c);
            taps.push_back(t);
            strides.push_back(strides.empty() ? 5 : 2);  // of every wav2vec 2.0 front end; no tensor tells
        }
        return {{"architectures", {"WavLMModel"}},
                {"model_type", "wavlm"},
                {"hidden_size", s.wavlm_dim},
                {"num_hidden_layers", s.wavlm_layers},
                {"num_attention_heads", s.wavlm_heads},
                {"intermediate_size", s.wavlm_ffn},
                {"hidden_act", "gelu"},
                {"conv_dim", channels},
                {"conv_kernel", taps},
                {"conv_stride", strides},
                {"conv_bias", false},
                {"feat_extract_norm", "group"},
                {"do_stable_layer_norm", false},
                {"num_conv_pos_embeddings", s.position_taps},
                {"num_conv_pos_embedding_groups", s.position_groups},
                {"num_buckets", s.buckets},
                {"max_bucket_distance", 800},
                {"layer_norm_eps", 1e-5}};
    }
    return llama_config_json(released_llama(s, o), false);
}

}  // namespace

ordered_json llama_config_json(const LlamaConfig& k, bool tied) {
    return {{"architectures", {"LlamaForCausalLM"}},
            {"model_type", "llama"},
            {"hidden_act", "silu"},
            {"hidden_size", k.dim},
            {"intermediate_size", k.ffn},
            {"num_hidden_layers", k.layers},
            {"num_attention_heads", k.heads},
            {"num_key_value_heads", k.kv_heads},
            {"max_position_embeddings", k.max_positions},
            {"rms_norm_eps", std::stod(fmt::format("{}", static_cast<float>(k.norm_eps)))},  // 1e-05, not 9.99e-06
            {"rope_theta", k.rope_theta},
            {"tie_word_embeddings", tied},
            {"vocab_size", k.vocab}};
}

std::pair<int64_t, int64_t> heads_of(const Checkpoint& c) {
    if (c.format() != "gguf") {
        const auto config = c.metadata().find("config");
        if (config == c.metadata().end() || !config->is_object()) return {0, 0};
        // LLaMA-1 has a key-value head for each head and does not say so; WavLM's config has num_attention_heads, too
        const auto type = config->find("model_type");
        const bool llama = type != config->end() && *type == "llama" && config->contains("num_attention_heads");
        if (!llama && !config->contains("num_key_value_heads")) return {0, 0};
    }
    const LlamaConfig k = llama_config(c);
    return {k.heads, k.kv_heads};
}

LlamaConfig llama_of(const Checkpoint& c, const ConvertOptions& o) {
    return o.part == ConvertPart::llama ? released_llama(released_sizes(c), o) : llama_config(c);
}

ordered_json config_json(const Checkpoint& c, const ConvertOptions& o) {
    ordered_json config;
    const bool part = o.part == ConvertPart::whisper || o.part == ConvertPart::wavlm ||
                      (o.part == ConvertPart::llama && o.naming == LlamaNaming::hugging_face);
    if (part)
        config = part_json(released_sizes(c), o);
    else if (o.part == ConvertPart::all && c.metadata().contains("config"))
        config = ordered_json(c.metadata()["config"]);
    else if (o.part == ConvertPart::all && c.format() == "gguf" && o.naming == LlamaNaming::hugging_face)
        config = llama_config_json(llama_config(c), c.find("output.weight") == nullptr);
    if (config.is_object()) config["torch_dtype"] = torch_name(main_dtype(c, o));
    return config;
}

std::vector<std::string> copy_side_files(const std::filesystem::path& from, const std::filesystem::path& to) {
    std::vector<std::string> copied;
    for (const char* name :
         {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
          "vocab.json", "merges.txt", "generation_config.json", "preprocessor_config.json", "normalizer.json"}) {
        if (!std::filesystem::is_regular_file(from / name)) continue;
        std::error_code problem;
        std::filesystem::copy_file(from / name, to / name, std::filesystem::copy_options::overwrite_existing, problem);
        if (problem) throw FileError("{}: cannot be copied: {}", (from / name).string(), problem.message());
        copied.emplace_back(name);
    }
    return copied;
}

}  // namespace wavllm
