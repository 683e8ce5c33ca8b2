// LoRA in PEFT's layout. Witness: peft 0.13.2 with transformers 4.46.3, which computed the logits below (float64) and
// wrote a folder with these names and settings.

#include "models/convert/peft.h"

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/tape.h"
#include "models/checkpoint/identity.h"
#include "models/convert/convert.h"
#include "models/llama/llama.h"
#include "models/preset/preset.h"
#include "tests/checkpoint/small_files.h"
#include "tests/program/program.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

constexpr int64_t kRank = 2, kDim = 32, kKv = 16;
const std::vector<int32_t> kIds{1, 17, 42, 99, 5, 150, 3, 77};
/// golden hf_llama_untied with the LoRA of peft_folder(): logits of ids 0 to 11 after the last token, 100 to 103 after the
/// fourth.
const std::vector<double> kLast{2.404887,  -0.3654069, -11.88296, 0.07640623, 1.983697, 3.432434,
                                -1.387101, -2.239828,  -2.705563, 1.011837,   2.442716, -0.6190657};
const std::vector<double> kFourth{1.00406, 2.517578, 1.351139, 1.120102};

LlamaConfig llama_of(RopeLayout layout) {
    LlamaConfig c;
    c.dim = kDim;
    c.layers = c.kv_heads = 2;
    c.heads = 4;
    c.ffn = 88;
    c.vocab = 160;
    c.rope_theta = 100000;
    c.rope_layout = layout;
    return c;
}

nlohmann::json peft_config() {
    return nlohmann::json::parse(R"({"alpha_pattern": {}, "auto_mapping": null, "bias": "none", "fan_in_fan_out": false,
        "init_lora_weights": true, "layers_to_transform": null, "loftq_config": {}, "lora_alpha": 3, "lora_dropout": 0.1,
        "modules_to_save": null, "peft_type": "LORA", "r": 2, "rank_pattern": {}, "task_type": "CAUSAL_LM",
        "target_modules": ["o_proj", "q_proj", "k_proj", "v_proj"], "use_dora": false, "use_rslora": false})");
}

/// Element i of the n-th matrix is ((7 i + 5 n) mod 13 - 6) / 16; layer by layer, q k v o, A then B.
void peft_folder(const TempFolder& folder, const std::string& name, const nlohmann::json& config,
                 const std::function<bool(const std::string&)>& wanted = {}) {
    std::vector<std::vector<float>> held;
    std::vector<TensorToStore> tensors;
    int64_t n = 0;
    for (int64_t layer = 0; layer < 2; ++layer)
        for (const char* target : {"q_proj", "k_proj", "v_proj", "o_proj"})
            for (const char part : {'A', 'B'}) {
                const int64_t out = *target == 'k' || *target == 'v' ? kKv : kDim;
                const std::vector<int64_t> shape =
                    part == 'A' ? std::vector<int64_t>{kRank, kDim} : std::vector<int64_t>{out, kRank};
                std::vector<float> values;
                for (int64_t i = 0; i < shape[0] * shape[1]; ++i)
                    values.push_back(static_cast<float>((7 * i + 5 * n) % 13 - 6) / 16);
                ++n;
                const std::string full =
                    fmt::format("base_model.model.model.layers.{}.self_attn.{}.lora_{}.weight", layer, target, part);
                if (wanted && !wanted(full)) continue;
                held.push_back(std::move(values));
                tensors.push_back({full, DType::f32, shape, std::as_bytes(std::span(held.back()))});
            }
    folder.write(name + "/adapter_config.json", config.dump());
    write_safetensors(folder / (name + "/adapter_model.safetensors"), tensors, {{"format", "pt"}});
}

Lora lora_from(const LoraFile& file, const LlamaConfig& c, const TempFolder& folder) {
    std::vector<TensorToStore> tensors;
    for (const auto& [name, t] : file.tensors)
        tensors.push_back({name,
                           t.dtype(),
                           {t.shape().begin(), t.shape().end()},
                           {static_cast<const std::byte*>(t.raw()), t.bytes()}});
    write_safetensors(folder / "lora.safetensors", tensors);
    const auto checkpoint = open_checkpoint(folder / "lora.safetensors");
    const std::array<std::pair<int64_t, int64_t>, 4> dims{{{kDim, kDim}, {kDim, kKv}, {kDim, kKv}, {kDim, kDim}}};
    return Lora::load(Weights(*checkpoint), file.config, c.layers, dims);
}

std::vector<double> logits_with(const Checkpoint& base, const LlamaConfig& c, const Lora& lora) {
    NoGrad no_grad;
    const Llama llama = Llama::load(Weights(base), c);
    LlamaPass pass;
    pass.borders = Tensor::from(std::vector<int64_t>{0, 8}, {2});
    pass.positions = LlamaPass::positions_for(pass.borders);
    pass.lora = &lora;
    pass.run.scale.s = lora.stage1_scale();
    return llama.logits(llama.forward(llama.embed(Tensor::from(kIds, {8})), pass)).values();
}

double worst_error(const std::vector<double>& logits) {
    double worst = 0;
    for (size_t i = 0; i < kLast.size(); ++i) worst = std::max(worst, std::abs(logits[7 * 160 + i] - kLast[i]));
    for (size_t i = 0; i < kFourth.size(); ++i)
        worst = std::max(worst, std::abs(logits[3 * 160 + 100 + i] - kFourth[i]));
    return worst;
}

/// folder/base: golden hf_llama_untied in Hugging Face's folder.
void write_base(const TempFolder& folder) {
    std::filesystem::create_directories(folder / "base");
    std::filesystem::copy_file(shared("golden/hf_llama_untied_weights.safetensors"), folder / "base/model.safetensors");
    folder.write("base/config.json", R"({"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 88, "vocab_size": 160, "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0, "max_position_embeddings": 512})");
}

/// An adapter as `wavllm train` writes it: LoRA of rank 2 on these projections of that base, and a tensor of its own.
std::string write_adapter(const TempFolder& folder, const std::string& name, const std::string& targets,
                          const std::vector<std::string>& others = {"adapter.norm.weight"}) {
    peft_folder(folder, name + "-peft", peft_config());
    LoraFile file = read_peft_folder(folder / (name + "-peft"), llama_of(RopeLayout::half_split));
    std::vector<TensorToStore> tensors;
    for (const auto& [tensor, t] : file.tensors)
        if (targets.find(tensor[tensor.find(".w") + 2]) != std::string::npos)
            tensors.push_back({tensor,
                               t.dtype(),
                               {t.shape().begin(), t.shape().end()},
                               {static_cast<const std::byte*>(t.raw()), t.bytes()}});
    const std::vector<float> ones(8, 1.0f);
    for (const std::string& other : others) tensors.push_back({other, DType::f32, {8}, std::as_bytes(std::span(ones))});
    Preset preset{.name = "mine"};
    preset.model.llm = (folder / "base").string();
    preset.lora.rank = kRank;
    preset.lora.alpha = 3;
    preset.lora.targets = targets;
    const nlohmann::json base{
        {"llm", {{"name", preset.model.llm}, {"identity", weights_identity(*open_checkpoint(folder / "base"))}}}};
    const auto path = folder / (name + ".safetensors");
    write_safetensors(path, tensors, {{"preset", preset.to_json().dump()}, {"base", base.dump()}});
    return path;
}

}  // namespace

TEST_CASE("PEFT folder: computes what peft computes, in both rotary layouts") {
    TempFolder folder;
    peft_folder(folder, "peft", peft_config());
    const auto hf = open_checkpoint(shared("golden/hf_llama_untied_weights.safetensors"));
    const LlamaConfig half_split = llama_of(RopeLayout::half_split);
    const LoraFile file = read_peft_folder(folder / "peft", half_split);
    CHECK(file.config.rank == kRank);
    CHECK(file.config.alpha == 3);
    CHECK(file.config.dropout == 0.1);
    const auto logits = logits_with(*hf, half_split, lora_from(file, half_split, folder));
    CHECK_FALSE(!(worst_error(logits) < 5e-5));  // logits of up to 12.7 in float32

    // the base in Meta's naming: q and k have their rows in another order, and so has the LoRA
    const Plan plan = plan_conversion(*hf, {.naming = LlamaNaming::meta, .heads = 4, .kv_heads = 2});
    write_model_file(folder / "meta.safetensors", streamed(*hf, plan), {});
    const auto meta = open_checkpoint(folder / "meta.safetensors");
    const LlamaConfig interleaved = llama_of(RopeLayout::interleaved);
    const LoraFile turned = read_peft_folder(folder / "peft", interleaved);
    CHECK_FALSE(!(worst_error(logits_with(*meta, interleaved, lora_from(turned, interleaved, folder))) < 5e-5));
    // and the order matters: the wrong one is far off
    CHECK(worst_error(logits_with(*meta, interleaved, lora_from(file, interleaved, folder))) > 0.01);
}

TEST_CASE("PEFT folder: what is written is what was read, in both rotary layouts") {
    TempFolder folder;
    peft_folder(folder, "peft", peft_config());
    for (const RopeLayout layout : {RopeLayout::half_split, RopeLayout::interleaved}) {
        const LlamaConfig c = llama_of(layout);
        const std::string name = layout == RopeLayout::half_split ? "a" : "b";
        const LoraFile file = read_peft_folder(folder / "peft", c);
        write_peft_folder(folder / name, file, c, "meta-llama/some-base");
        CHECK(read_all(folder / (name + "/adapter_model.safetensors")) ==
              read_all(folder / "peft/adapter_model.safetensors"));
        const auto config = nlohmann::json::parse(read_all(folder / (name + "/adapter_config.json")));
        CHECK(config.at("r") == 2);
        CHECK(config.at("lora_alpha").is_number_integer());
        CHECK(config.at("base_model_name_or_path") == "meta-llama/some-base");
        CHECK(config.at("target_modules") == nlohmann::json{"q_proj", "k_proj", "v_proj", "o_proj"});
        CHECK(message_of<UsageError>([&] { write_peft_folder(folder / name, file, c, ""); }).find("already") !=
              std::string::npos);
    }
}

TEST_CASE("PEFT folder: projections that are left out change nothing; what LoRA here cannot say is refused") {
    TempFolder folder;
    const LlamaConfig c = llama_of(RopeLayout::half_split);
    peft_folder(folder, "qv", peft_config(), [](const std::string& name) {
        return name.find("q_proj") != std::string::npos || name.find("v_proj") != std::string::npos;
    });
    const LoraFile some = read_peft_folder(folder / "qv", c);
    CHECK(some.tensors.size() == 16);
    for (const auto& [name, t] : some.tensors) {
        double sum = 0;
        for (const double v : t.values()) sum += std::abs(v);
        const bool there = name.find("wq") != std::string::npos || name.find("wv") != std::string::npos;
        CHECK((sum > 0) == there);
    }
    const auto refused = [&](const char* key, const nlohmann::json& value) {
        static int n = 0;
        nlohmann::json config = peft_config();
        config[key] = value;
        const std::string name = fmt::format("refused{}", n++);
        peft_folder(folder, name, config);
        return message_of<FileError>([&] { read_peft_folder(folder / name, c); });
    };
    CHECK(refused("use_rslora", false).empty());
    for (const auto& [key, value] : {std::pair<const char*, nlohmann::json>("bias", "all"),
                                     {"use_dora", true},
                                     {"fan_in_fan_out", true},
                                     {"rank_pattern", {{"q_proj", 4}}},
                                     {"alpha_pattern", {{"q_proj", 4}}},
                                     {"modules_to_save", {"lm_head"}},
                                     {"layers_to_transform", {0}},
                                     {"init_lora_weights", "pissa"},
                                     {"peft_type", "IA3"},
                                     {"peft_type", 7},
                                     {"r", 0},
                                     {"r", 5},
                                     {"r", "two"},
                                     {"lora_alpha", nullptr}}) {
        const std::string line = refused(key, value);
        INFO(key << ": " << line);
        CHECK(!line.empty());
        CHECK(line.find('\n') == std::string::npos);
    }
    CHECK(refused("bias", "all").find("bias is \"all\"") != std::string::npos);
    // a layer that the base does not have
    LlamaConfig one = c;
    one.layers = 1;
    CHECK(message_of<FileError>([&] { read_peft_folder(folder / "qv", one); }).find("of 1 layers") !=
          std::string::npos);
}

TEST_CASE("program: convert writes a PEFT folder of an adapter and reads it back") {
    TempFolder folder;
    write_base(folder);
    peft_folder(folder, "peft", peft_config());
    const std::string base = (folder / "base").string(), ours = (folder / "ours.safetensors").string();
    const ProgramResult in = run_program({"convert", (folder / "peft").string(), ours, "--base", base, "--json"});
    INFO(in.err);
    REQUIRE(in.code == 0);
    CHECK(nlohmann::json::parse(in.out).at("lora_tensors") == 16);
    const ProgramResult out = run_program({"convert", ours, (folder / "back").string(), "--peft", "--base", base});
    INFO(out.err);
    REQUIRE(out.code == 0);
    CHECK(nlohmann::json::parse(read_all(folder / "back/adapter_config.json")).at("lora_alpha") == 3);
    // a file that says nothing of its own
    const std::string bare = (folder / "bare.pt").string();
    REQUIRE(run_program({"convert", ours, bare}).code == 0);
    const ProgramResult no_alpha = run_program({"convert", bare, (folder / "x").string(), "--peft", "--base", base});
    CHECK(no_alpha.code != 0);
    CHECK(no_alpha.err.find("--alpha") != std::string::npos);
    CHECK(read_all(folder / "back/adapter_model.safetensors") == read_all(folder / "peft/adapter_model.safetensors"));
}

TEST_CASE("program: convert --peft of an adapter with LoRA on some of the projections") {
    TempFolder folder;
    write_base(folder);
    const std::string adapter = write_adapter(folder, "qv", "q,v");
    const ProgramResult r = run_program({"convert", adapter, (folder / "out").string(), "--peft", "--json"});
    INFO(r.err);
    REQUIRE(r.code == 0);
    CHECK(nlohmann::json::parse(r.out).at("lora_tensors") == 8);
    const auto config = nlohmann::json::parse(read_all(folder / "out/adapter_config.json"));
    CHECK(config.at("target_modules") == nlohmann::json{"q_proj", "v_proj"});
    CHECK(config.at("lora_alpha") == 3);
    const auto written = open_checkpoint(folder / "out/adapter_model.safetensors");
    const auto all = open_checkpoint(folder / "qv-peft/adapter_model.safetensors");
    CHECK(written->tensors().size() == 8);
    for (const StoredTensor& t : written->tensors()) {
        const StoredTensor& other = all->at(t.name);
        REQUIRE(other.bytes.size() == t.bytes.size());
        CHECK(std::memcmp(other.bytes.data(), t.bytes.data(), t.bytes.size()) == 0);
    }
    // a file that has another LoRA than it says
    const auto file = open_checkpoint(adapter);
    const LlamaConfig c = llama_of(RopeLayout::half_split);
    CHECK(message_of<FileError>([&] { lora_of_checkpoint(*file, c, 3, 0, lora_targets("q,k,v")); }).find("wk_lora_A") !=
          std::string::npos);
    CHECK(message_of<FileError>([&] {
              lora_of_checkpoint(*file, c, 3, 0, lora_targets("v"));
          }).find("has 8 tensors of LoRA, but 2 layers of 1 projections have 4") != std::string::npos);
    LlamaConfig one = c;
    one.layers = 1;
    CHECK(message_of<FileError>([&] { lora_of_checkpoint(*file, one, 3, 0); }).find("1 layers") != std::string::npos);
}

TEST_CASE("program: convert --peft of an adapter with a prompt adapter says that it is lost, or refuses") {
    TempFolder folder;
    write_base(folder);
    const std::string adapter = write_adapter(folder, "stage2", "q,k,v,o", {"scale_fc_1.weight", "scale_fc_1.bias"});
    const std::vector<std::string> command{"convert", adapter, (folder / "out").string(), "--peft"};
    const ProgramResult refused = run_program(command);
    CHECK(refused.code != 0);
    CHECK(refused.error_lines() == 1);
    CHECK_MESSAGE(refused.err.find("prompt adapter (2 tensors)") != std::string::npos, refused.err);
    CHECK(refused.err.find("--alpha") != std::string::npos);
    CHECK(!std::filesystem::exists(folder / "out/adapter_config.json"));
    std::vector<std::string> with_alpha = command;
    with_alpha.insert(with_alpha.end(), {"--alpha", "5"});
    const ProgramResult r = run_program(with_alpha);
    CHECK(r.code == 0);
    CHECK_MESSAGE(r.err.find("is left out") != std::string::npos, r.err);
    CHECK(nlohmann::json::parse(read_all(folder / "out/adapter_config.json")).at("lora_alpha") == 5);
}

TEST_CASE("program: convert --peft --base of another LLM of the same sizes is refused") {
    TempFolder folder;
    write_base(folder);
    const std::string adapter = write_adapter(folder, "mine", "q,v"), other = (folder / "other").string();
    REQUIRE(run_program({"convert", (folder / "base").string(), other, "--dtype", "f16"}).code == 0);
    const ProgramResult r = run_program({"convert", adapter, (folder / "out").string(), "--peft", "--base", other});
    CHECK(r.code != 0);
    CHECK_MESSAGE(r.err.find("was trained on the llm") != std::string::npos, r.err);
    CHECK(!std::filesystem::exists(folder / "out/adapter_config.json"));
    CHECK(run_program({"convert", adapter, (folder / "out").string(), "--peft", "--base", (folder / "base").string()})
              .code == 0);
}

TEST_CASE("program: convert ADAPTER --dtype keeps the preset and the base it belongs to") {
    TempFolder folder;
    write_base(folder);
    const std::string adapter = write_adapter(folder, "mine", "q,v");
    const auto source = open_checkpoint(adapter);
    for (const char* dtype : {"f32", "f16"}) {
        const std::string to = (folder / (std::string(dtype) + ".safetensors")).string();
        REQUIRE(run_program({"convert", adapter, to, "--dtype", dtype}).code == 0);
        const auto meta = open_checkpoint(to)->metadata().at("__metadata__");
        for (const char* key : {"preset", "base"}) CHECK(meta.at(key) == source->metadata().at("__metadata__").at(key));
    }
    const ProgramResult torch = run_program({"convert", adapter, (folder / "mine.pt").string()});
    CHECK(torch.code == 0);
    CHECK_MESSAGE(torch.out.find("no place for the source's metadata (base, preset)") != std::string::npos, torch.out);
}
