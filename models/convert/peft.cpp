#include "models/convert/peft.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "data/json.h"
#include "models/checkpoint/released.h"
#include "models/convert/llama_names.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::array<const char*, 4> kProjections{"q_proj", "k_proj", "v_proj", "o_proj"};  // as kLoraTargets

std::string our_name(int64_t layer, size_t target, char part) {
    return fmt::format("layers.{}.attention.{}_lora_{}", layer, kLoraTargets[target], part);
}
std::string peft_name(int64_t layer, size_t target, char part) {
    return fmt::format("base_model.model.model.layers.{}.self_attn.{}.lora_{}.weight", layer, kProjections[target],
                       part);
}

/// Inputs and outputs of a projection.
std::pair<int64_t, int64_t> sizes_of(const LlamaConfig& c, size_t target) {
    const bool grouped = target == 1 || target == 2;
    return {c.dim, grouped ? c.kv_heads * c.head_dim() : c.dim};
}
/// Whether the outputs' order differs from Hugging Face's.
bool reordered(const LlamaConfig& c, size_t target) {
    return c.rope_layout == RopeLayout::interleaved && target <= 1;
}
int64_t hugging_face_output(const LlamaConfig& c, size_t target, int64_t ours) {
    if (!reordered(c, target)) return ours;
    const int64_t d = c.head_dim();
    return ours / d * d + hugging_face_row(ours % d, d);
}

Tensor f32_of(const StoredTensor& s) {
    const Tensor t = to_tensor(s);
    return t.dtype() == DType::f32 ? t : t.to(DType::f32);
}

/// A: [in, rank] <-> [rank, in].
Tensor transposed(const Tensor& t) {
    Tensor out = Tensor::empty({t.dim(1), t.dim(0)});
    for (int64_t i = 0; i < t.dim(0); ++i)
        for (int64_t j = 0; j < t.dim(1); ++j)
            out.mutable_data<float>()[j * t.dim(0) + i] = t.data<float>()[i * t.dim(1) + j];
    return out;
}
/// B: ours [rank, out] to PEFT's [out, rank], or back.
Tensor b_to_peft(const Tensor& ours, const LlamaConfig& c, size_t target) {
    const int64_t rank = ours.dim(0), out = ours.dim(1);
    Tensor result = Tensor::empty({out, rank});
    for (int64_t o = 0; o < out; ++o)
        for (int64_t r = 0; r < rank; ++r)
            result.mutable_data<float>()[hugging_face_output(c, target, o) * rank + r] =
                ours.data<float>()[r * out + o];
    return result;
}
Tensor b_from_peft(const Tensor& peft, const LlamaConfig& c, size_t target) {
    const int64_t out = peft.dim(0), rank = peft.dim(1);
    Tensor result = Tensor::empty({rank, out});
    for (int64_t o = 0; o < out; ++o)
        for (int64_t r = 0; r < rank; ++r)
            result.mutable_data<float>()[r * out + o] =
                peft.data<float>()[hugging_face_output(c, target, o) * rank + r];
    return result;
}

void expect_shape(const fs::path& file, const StoredTensor& t, const Shape& shape) {
    if (!(Shape(std::span<const int64_t>(t.shape)) == shape))
        throw FileError("{}: tensor \"{}\" is [{}], but this LLaMA makes it {}", file.string(), printable(t.name),
                        fmt::join(t.shape, ", "), shape.str());
}

/// Settings that PEFT has and our LoRA has not: each must be absent, null, or what does nothing.
void check_settings(const fs::path& file, const json& config) {
    const json type = config.contains("peft_type") ? config["peft_type"] : json("missing");
    if (type != "LORA")
        throw FileError("{}: peft_type is {}, but only LORA is read", file.string(), printable(type.dump()));
    // these change the base model's own weights when they begin
    if (const auto it = config.find("init_lora_weights"); it != config.end() && it->is_string() && *it != "gaussian")
        throw FileError("{}: init_lora_weights is {}, whose LoRA belongs to a base that it changed", file.string(),
                        printable(it->dump()));
    static const std::pair<const char*, json> plain[] = {{"bias", "none"},
                                                         {"use_dora", false},
                                                         {"fan_in_fan_out", false},
                                                         {"lora_bias", false},
                                                         {"modules_to_save", json::array()},
                                                         {"rank_pattern", json::object()},
                                                         {"alpha_pattern", json::object()},
                                                         {"layers_to_transform", json::array()},
                                                         {"layer_replication", json::array()},
                                                         {"trainable_token_indices", json::array()},
                                                         {"exclude_modules", json::array()}};
    for (const auto& [key, nothing] : plain)
        if (const auto it = config.find(key); it != config.end() && !it->is_null() && *it != nothing)
            throw FileError("{}: {} is {}, which the LoRA here cannot express; only {} is read", file.string(), key,
                            printable(it->dump()), nothing.dump());
}

double number(const fs::path& file, const json& config, const char* key) {
    const auto it = config.find(key);
    if (it == config.end() || !it->is_number()) throw FileError("{}: it has no number \"{}\"", file.string(), key);
    return it->get<double>();
}

}  // namespace

LoraFile lora_of_checkpoint(const Checkpoint& checkpoint, const LlamaConfig& llama, double alpha, double dropout,
                            std::optional<std::array<bool, 4>> targets) {
    const auto has = [&](const std::string& prefix, size_t t) { return checkpoint.find(prefix + our_name(0, t, 'A')); };
    std::string prefix;
    for (size_t t = 0; t < 4; ++t)
        if (has(kReleasedLlama, t)) prefix = kReleasedLlama;
    std::array<bool, 4> present{};
    for (size_t t = 0; t < 4; ++t) present[t] = targets ? (*targets)[t] : has(prefix, t) != nullptr;
    const auto first = static_cast<size_t>(std::find(present.begin(), present.end(), true) - present.begin());
    const StoredTensor& a = checkpoint.at(prefix + our_name(0, first % 4, 'A'));  // of none: the error names wq's
    const int64_t rank = a.shape.size() == 2 ? a.shape[1] : 0;
    LoraFile result{.config = {.rank = rank, .alpha = alpha, .dropout = dropout, .targets = present}, .tensors = {}};
    for (int64_t layer = 0; layer < llama.layers; ++layer)
        for (size_t t = 0; t < 4; ++t) {
            if (!present[t]) continue;
            const auto [in, out] = sizes_of(llama, t);
            for (const char part : {'A', 'B'}) {
                const StoredTensor& s = checkpoint.at(prefix + our_name(layer, t, part));
                expect_shape(checkpoint.path(), s, part == 'A' ? Shape{in, rank} : Shape{rank, out});
                result.tensors.emplace_back(our_name(layer, t, part), f32_of(s));
            }
        }
    size_t stored = 0;
    for (const StoredTensor& t : checkpoint.tensors())
        stored += t.name.ends_with("_lora_A") || t.name.ends_with("_lora_B");
    if (stored != result.tensors.size())
        throw FileError("{}: it has {} tensors of LoRA, but {} layers of {} projections have {}",
                        checkpoint.path().string(), stored, llama.layers,
                        std::count(present.begin(), present.end(), true), result.tensors.size());
    return result;
}

bool is_prompt_adapter_name(std::string_view name) {
    for (const char* part : {"scale_fc_1.", "scale_fc_2.", "scale_weight_attention."})
        if (name.find(part) != std::string_view::npos) return true;
    return false;
}

void write_peft_folder(const fs::path& folder, const LoraFile& lora, const LlamaConfig& llama,
                       const std::string& base) {
    std::error_code problem;
    fs::create_directories(folder, problem);
    if (problem) throw FileError("{}: cannot make the folder: {}", folder.string(), problem.message());
    if (fs::exists(folder / "adapter_config.json"))
        throw UsageError("{}: an adapter is there already; choose another folder", folder.string());
    std::vector<Tensor> held;
    std::vector<TensorToStore> tensors;
    std::vector<size_t> targets;
    std::vector<std::string> modules;
    for (size_t t = 0; t < 4; ++t) {
        if (!lora.config.targets[t]) continue;
        targets.push_back(t);
        modules.emplace_back(kProjections[t]);
    }
    for (size_t i = 0; i < lora.tensors.size(); ++i) {
        const auto layer = static_cast<int64_t>(i / (2 * targets.size()));
        const size_t target = targets[i / 2 % targets.size()];
        const bool a = i % 2 == 0;
        const Tensor& ours = lora.tensors[i].second;
        const Tensor& t = held.emplace_back(a ? transposed(ours) : b_to_peft(ours, llama, target));
        tensors.push_back({peft_name(layer, target, a ? 'A' : 'B'),
                           DType::f32,
                           {t.shape().begin(), t.shape().end()},
                           {static_cast<const std::byte*>(t.raw()), t.bytes()}});
    }
    write_safetensors(folder / "adapter_model.safetensors", tensors, {{"format", "pt"}});
    // alpha as a whole number where it is one: PEFT's field is an int
    const double alpha = lora.config.alpha;
    const nlohmann::ordered_json config{
        {"peft_type", "LORA"},
        {"task_type", "CAUSAL_LM"},
        {"base_model_name_or_path", base},
        {"r", lora.config.rank},
        {"lora_alpha", alpha == std::floor(alpha) ? nlohmann::ordered_json(static_cast<int64_t>(alpha))
                                                  : nlohmann::ordered_json(alpha)},
        {"lora_dropout", lora.config.dropout},
        {"target_modules", modules},
        {"bias", "none"},
        {"fan_in_fan_out", false},
        {"inference_mode", true},
        {"init_lora_weights", true},
        {"modules_to_save", nullptr}};
    write_file_atomically(folder / "adapter_config.json", config.dump(2) + '\n');
}

LoraFile read_peft_folder(const fs::path& folder, const LlamaConfig& llama) {
    const fs::path config_file = folder / "adapter_config.json";
    const json config = read_json_file(config_file, 1 << 20);
    if (!config.is_object()) throw FileError("{}: it should be a JSON object", config_file.string());
    check_settings(config_file, config);
    LoraFile result;
    result.config.rank = static_cast<int64_t>(number(config_file, config, "r"));
    result.config.alpha = number(config_file, config, "lora_alpha");
    result.config.dropout = config.contains("lora_dropout") ? number(config_file, config, "lora_dropout") : 0;
    const int64_t rank = result.config.rank;
    if (rank < 1 || rank > llama.dim)
        throw FileError("{}: r = {} is out of range for a width of {}", config_file.string(), rank, llama.dim);
    // rank-stabilised LoRA divides by the root of the rank; ours by the rank
    if (config.contains("use_rslora") && config["use_rslora"] == true)
        result.config.alpha *= std::sqrt(static_cast<double>(rank));

    const bool safe = fs::exists(folder / "adapter_model.safetensors");
    const auto file = open_checkpoint(folder / (safe ? "adapter_model.safetensors" : "adapter_model.bin"));
    std::set<std::string> used;
    for (int64_t layer = 0; layer < llama.layers; ++layer)
        for (size_t t = 0; t < 4; ++t) {
            const auto [in, out] = sizes_of(llama, t);
            const StoredTensor *a = file->find(peft_name(layer, t, 'A')), *b = file->find(peft_name(layer, t, 'B'));
            if ((a == nullptr) != (b == nullptr))
                throw FileError("{}: \"{}\" has one of its two matrices only", file->path().string(),
                                peft_name(layer, t, 'A'));
            Tensor our_a = Tensor::zeros({in, rank}), our_b = Tensor::zeros({rank, out});
            if (a != nullptr) {
                expect_shape(file->path(), *a, {rank, in});
                expect_shape(file->path(), *b, {out, rank});
                our_a = transposed(f32_of(*a));
                our_b = b_from_peft(f32_of(*b), llama, t);
                used.insert({a->name, b->name});
            }
            result.tensors.emplace_back(our_name(layer, t, 'A'), our_a);
            result.tensors.emplace_back(our_name(layer, t, 'B'), our_b);
        }
    for (const StoredTensor& t : file->tensors())
        if (!used.contains(t.name))
            throw FileError("{}: tensor \"{}\" is none of LoRA on q_proj, k_proj, v_proj and o_proj of {} layers",
                            file->path().string(), printable(t.name), llama.layers);
    if (used.empty()) throw FileError("{}: it has no LoRA tensors", file->path().string());
    return result;
}

}  // namespace wavllm
