#include "models/convert/gguf.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "data/json.h"
#include "models/checkpoint/readers.h"
#include "models/checkpoint/released.h"
#include "models/convert/config_json.h"
#include "models/convert/gguf_vocabulary.h"
#include "models/convert/llama_names.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace fs = std::filesystem;

namespace {

bool is_block(DType dtype) {
    return info(dtype).frozen_block;
}

/// llama.cpp's number of "mostly this type" (llama_ftype).
uint32_t file_type(DType dtype) {
    switch (dtype) {
        case DType::f16: return 1;
        case DType::q4_0: return 2;
        case DType::q4_1: return 3;
        case DType::q8_0:
        case DType::int8: return 7;
        case DType::bf16: return 32;
        default: return 0;
    }
}

/// What most weights of the layers are.
DType main_dtype(const Plan& plan) {
    std::map<DType, size_t> bytes;
    for (const PlannedTensor& t : plan.tensors)
        if (t.name.starts_with("blk.")) bytes[t.dtype] += t.source->bytes.size();
    const auto most =
        std::max_element(bytes.begin(), bytes.end(), [](auto& a, auto& b) { return a.second < b.second; });
    return most == bytes.end() ? DType::f32 : most->first;
}

void put_types(GgufMetadata& m, const Plan& plan) {
    m.put_u32("general.file_type", file_type(main_dtype(plan)));
    if (std::any_of(plan.tensors.begin(), plan.tensors.end(), [](const auto& t) { return is_block(t.dtype); }))
        m.put_u32("general.quantization_version", 2);  // ggml's, of the blocks' layout
}

/// A name that the model had somewhere, without its folder.
std::string model_name(const Checkpoint& c) {
    const auto config = c.metadata().find("config");
    if (config == c.metadata().end() || !config->is_object()) return "";
    const auto it = config->find("_name_or_path");
    return it != config->end() && it->is_string() ? fs::path(it->get<std::string>()).filename().string() : "";
}

/// Every tensor of a LLaMA of these sizes, of its shape.
void check_whole(const Checkpoint& c, const Plan& plan, const LlamaConfig& k) {
    std::map<std::string_view, const StoredTensor*> there;
    for (const PlannedTensor& t : plan.tensors) there[t.name] = t.source;
    const auto expect = [&](const std::string& name, const std::vector<int64_t>& shape) {
        const auto it = there.find(name);
        if (it == there.end())
            throw FileError("{}: it has no tensor that becomes \"{}\", which a LLaMA of {} layers needs",
                            c.path().string(), name, k.layers);
        if (it->second->shape != shape)
            throw FileError("{}: tensor \"{}\" has the shape [{}], but the configuration makes it [{}]",
                            c.path().string(), printable(it->second->name), fmt::join(it->second->shape, ", "),
                            fmt::join(shape, ", "));
    };
    expect("token_embd.weight", {k.vocab, k.dim});
    expect("output_norm.weight", {k.dim});
    if (there.contains("output.weight")) expect("output.weight", {k.vocab, k.dim});
    const int64_t kv = k.kv_heads * k.head_dim();
    for (int64_t i = 0; i < k.layers; ++i) {
        const std::string layer = fmt::format("blk.{}.", i);
        expect(layer + "attn_norm.weight", {k.dim});
        expect(layer + "attn_q.weight", {k.dim, k.dim});
        expect(layer + "attn_k.weight", {kv, k.dim});
        expect(layer + "attn_v.weight", {kv, k.dim});
        expect(layer + "attn_output.weight", {k.dim, k.dim});
        expect(layer + "ffn_norm.weight", {k.dim});
        expect(layer + "ffn_gate.weight", {k.ffn, k.dim});
        expect(layer + "ffn_up.weight", {k.ffn, k.dim});
        expect(layer + "ffn_down.weight", {k.dim, k.ffn});
    }
    const auto layer_of = [](const std::string& name) {  // another GGUF's tensors may be called anything
        int64_t layer = -1;
        if (!name.starts_with("blk.")) return layer;
        const auto read = std::from_chars(name.data() + 4, name.data() + name.size(), layer);
        return read.ec == std::errc::result_out_of_range ? INT64_MAX : layer;
    };
    for (const PlannedTensor& t : plan.tensors)
        if (layer_of(t.name) >= k.layers)
            throw FileError("{}: tensor \"{}\" is of a layer that a LLaMA of {} layers does not have",
                            c.path().string(), printable(t.source->name), k.layers);
}

void put_sizes(GgufMetadata& m, const LlamaConfig& k) {
    const auto put = [&](const char* key, int64_t value) {
        m.put_u32(fmt::format("llama.{}", key), static_cast<uint32_t>(value));  // LlamaConfig::check: below 2^31
    };
    put("block_count", k.layers);
    put("context_length", k.max_positions);
    put("embedding_length", k.dim);
    put("feed_forward_length", k.ffn);
    put("attention.head_count", k.heads);
    put("attention.head_count_kv", k.kv_heads);
    m.put_f32("llama.rope.freq_base", static_cast<float>(k.rope_theta));
    m.put_f32("llama.attention.layer_norm_rms_epsilon", k.norm_eps);
    put("vocab_size", k.vocab);
    put("rope.dimension_count", k.head_dim());
}

/// Whether the file's weights are as the source has them.
bool unchanged(const Plan& plan) {
    return std::all_of(plan.tensors.begin(), plan.tensors.end(),
                       [](const PlannedTensor& t) { return t.dtype == t.source->dtype; });
}

}  // namespace

std::unique_ptr<Checkpoint> open_with_config(const fs::path& path) {
    auto checkpoint = open_checkpoint(path);
    auto* loaded = dynamic_cast<LoadedCheckpoint*>(checkpoint.get());
    const fs::path config = path.parent_path() / "config.json";
    if (loaded && !fs::is_directory(path) && checkpoint->format() != "gguf" && fs::exists(config))
        loaded->facts["config"] = read_json_file(config, 1 << 24);
    return checkpoint;
}

void check_gguf_source(const Checkpoint& c, const ConvertOptions& o) {
    const std::string file = c.path().string();
    if (o.dtype == DType::f64)
        throw UsageError("convert: the weights of a LLaMA in GGUF are f32 at most; say --dtype f32");
    if (o.part == ConvertPart::llama) return;
    if (o.part != ConvertPart::all)
        throw UsageError(
            "convert: GGUF files hold a LLaMA here, so of a released checkpoint only --part llama can be one; write "
            "the "
            "other parts into a folder or FILE.safetensors");
    if (is_released(c))
        throw UsageError(
            "{}: this is a whole WavLLM, and GGUF files hold a LLaMA here: say --part llama and --heads (LLaMA-2-7B "
            "has 32)",
            file);
    if (c.format() == "gguf") return;  // llama_config says what it holds
    const auto& all = c.tensors();
    if (std::none_of(all.begin(), all.end(), [](const auto& t) { return llama_name(t.name).has_value(); }))
        throw UsageError(
            "{}: GGUF files hold a LLaMA here, and none of its {} tensors has the name of one. Other models (Whisper, "
            "WavLM, adapters) can be halved, --dtype f16 or bf16 into a folder or FILE.safetensors; train, transcribe "
            "and "
            "chat quantise frozen weights while they load: --frozen q8_0",
            file, all.size());
}

bool gguf_leaves_out(const Checkpoint& c, const std::string& name) {
    if (c.format() == "gguf" || llama_name(name)) return false;
    if (name.ends_with(".rotary_emb.inv_freq") || name == "rope.freqs") return true;
    throw UsageError("{}: tensor \"{}\" is none of LLaMA's, and a GGUF file would have to leave it out",
                     c.path().string(), printable(name));
}

DType gguf_dtype(const Checkpoint& c, const StoredTensor& t, const std::string& name,
                 const std::optional<DType>& wanted) {
    const auto known = llama_name(name);
    if (!known) return t.dtype;  // of a GGUF: kept
    if (!info(t.dtype).floating)
        throw FileError("{}: tensor \"{}\" is {}, but weights are real numbers", c.path().string(), printable(t.name),
                        info(t.dtype).name);
    if (t.shape.size() != 2) return DType::f32;
    DType dtype = t.dtype == DType::f64 ? DType::f32 : t.dtype;
    if (wanted && !is_block(*wanted))
        dtype = *wanted;
    else if (wanted && known->gguf == "token_embd.weight")
        dtype = dtype == DType::f32 ? DType::bf16 : dtype;
    else if (wanted)
        dtype = known->gguf == "output.weight" ? DType::q8_0 : *wanted;
    if (is_block(dtype) && t.shape[1] % info(dtype).block_elements != 0)
        throw UsageError(
            "convert: rows of tensor \"{}\" have {} elements, but {} stores whole blocks of {}: say --dtype bf16, f16 "
            "or f32",
            printable(t.name), t.shape[1], info(dtype).name, info(dtype).block_elements);
    return dtype;
}

void order_as_gguf(const Checkpoint& c, std::vector<PlannedTensor>& tensors) {
    if (c.format() == "gguf") return;
    const auto place = [](const PlannedTensor& t) {
        const bool layer = t.name.starts_with("blk.");  // llama_name: a number of at most six digits follows
        const int group = t.name.starts_with("token_embd") ? 0 : layer ? 1 : t.name.starts_with("output_norm") ? 2 : 3;
        return std::tuple(group, layer ? std::stoi(t.name.substr(4)) : 0, t.name);
    };
    std::sort(tensors.begin(), tensors.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
}

GgufMetadata gguf_metadata(const Checkpoint& c, const ConvertOptions& o, const Plan& plan, const fs::path& tokenizer) {
    const LlamaConfig k = llama_of(c, o);
    k.check();
    check_whole(c, plan, k);
    GgufMetadata m;
    const auto* loaded = dynamic_cast<const LoadedCheckpoint*>(&c);
    if (c.format() == "gguf" && loaded) {
        for (const auto& [key, value] : loaded->key_values)
            if (key != "general.alignment" && (tokenizer.empty() || !key.starts_with("tokenizer.")))
                m.put_stored(key, value);
        if (!unchanged(plan)) put_types(m, plan);
        if (!tokenizer.empty()) put_vocabulary(m, tokenizer, k.vocab, {});
        return m;
    }
    m.put_text("general.architecture", "llama");
    m.put_text("general.type", "model");
    if (const std::string name = model_name(c); !name.empty()) m.put_text("general.name", name);
    put_sizes(m, k);
    put_types(m, plan);
    const auto config = c.metadata().find("config");
    put_vocabulary(m, tokenizer.empty() ? (fs::is_directory(c.path()) ? c.path() : c.path().parent_path()) : tokenizer,
                   k.vocab, config == c.metadata().end() ? nlohmann::json() : *config);
    return m;
}

}  // namespace wavllm
