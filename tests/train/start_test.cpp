// What an adapter file is held to before a run or a program uses it: its base, its preset's values, its shapes. Witnesses:
// files made by hand of what survey_parameters says, and the golden released checkpoint.

#include "train/start.h"

#include <doctest/doctest.h>

#include "autograd/tape.h"
#include "models/checkpoint/identity.h"
#include "models/wavllm/released_system.h"
#include "tensor/allocator.h"
#include "tests/program/program.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

namespace fs = std::filesystem;

const BaseModels kBase{{"whisper", {"w", std::string(64, 'a')}}, {"llm", {"l", std::string(64, 'b')}}};

BaseConfigs tiny_configs() {
    BaseConfigs c;
    c.whisper = {.dim = 24, .encoder_layers = 1, .heads = 2, .encoder_ffn = 32};
    c.llama = {.dim = 32, .layers = 2, .heads = 4, .kv_heads = 2, .ffn = 48, .vocab = 64};
    return c;
}

Preset tiny(const std::vector<std::string>& set = {}) {
    std::vector<std::string> all{"adapter.mid=32", "adapter.dim=16", "adapter.bottleneck=8", "lora.rank=4"};
    all.insert(all.end(), set.begin(), set.end());
    return parse_preset(nlohmann::ordered_json::object(), "tiny", all);
}

/// A file of zeros as a run of this preset would leave it; `stored`: the preset in its metadata, if it is another.
fs::path file_of(const fs::path& path, const Preset& preset, const Preset* stored = nullptr) {
    std::vector<Tensor> held;
    std::vector<TensorToStore> tensors;
    survey_parameters(preset, tiny_configs(), [&](const std::string& name, const Shape& shape) {
        const Tensor& t = held.emplace_back(Tensor::full(shape, 0.5));
        tensors.push_back(
            {name, DType::f32, {shape.begin(), shape.end()}, {static_cast<const std::byte*>(t.raw()), t.bytes()}});
    });
    write_safetensors(path, tensors, adapter_metadata(stored ? *stored : preset, kBase));
    return path;
}

}  // namespace

TEST_CASE("train.from: values that decide what the same tensors compute must be the same, or be named") {
    const TempFolder temp;
    const AdapterFile file(file_of(temp / "first.safetensors", tiny({"lora.alpha=16"})));
    const auto refused = [&](const std::vector<std::string>& set) {
        std::vector<std::string> all{"lora.alpha=16"};
        all.insert(all.end(), set.begin(), set.end());
        return message_of<FileError>([&] { check_start(file, tiny(all), kBase); });
    };
    CHECK(refused({}).empty());
    CHECK(refused({"lora.dropout=0.3", "train.lora_rate=0.5", "model.frozen_dtype=int8"}).empty());
    CHECK(refused({"lora.targets=o,v,k,q"}).empty());
    const std::string alpha = refused({"lora.alpha=64"});
    for (const char* part : {"first.safetensors", "lora.alpha=16.0, here 64.0", "--set lora.alpha=16.0",
                             "--set train.from_changes=lora.alpha"}) {
        CAPTURE(alpha);
        CHECK(alpha.find(part) != std::string::npos);
    }
    for (const std::string set :
         {"adapter.output_norm=false", "model.norm_eps=0.1", "model.chat_template=llama2", "model.encoder_padding=30s",
          "adapter.taps=5", "adapter.out=16", "lora.rank=8", "lora.targets=q,v"}) {
        CAPTURE(set);
        CHECK(refused({set}).find(set.substr(0, set.find('=') + 1)) != std::string::npos);
    }
    // both are named at once
    CHECK(refused({"lora.alpha=64", "model.norm_eps=0.1"}).find("--set train.from_changes=model.norm_eps,lora.alpha") !=
          std::string::npos);

    const std::vector<std::string> meant{"lora.alpha=64", "train.from=x",
                                         "train.from_changes=model.norm_eps,lora.alpha"};
    CHECK(check_start(file, tiny(meant), kBase) ==
          std::vector<std::string>{"train.from: lora.alpha changes from 16.0 to 64.0"});
    const std::vector<std::string> wrong{"train.from=x", "train.from_changes=lora.alfa"};
    CHECK_THROWS_WITH_AS(check_start(file, tiny(wrong), kBase), doctest::Contains("the nearest is \"lora.alpha\""),
                         UsageError);
    CHECK_THROWS_WITH_AS(tiny({"train.from_changes=lora.alpha"}), doctest::Contains("train.from, which is empty"),
                         UsageError);
}

TEST_CASE("train.from: a connector's windows, heads and pools have no tensor, and a stored prompt adapter has its r") {
    const TempFolder temp;
    const auto refused = [&](std::vector<std::string> before, const std::string& change) {
        const AdapterFile file(file_of(temp / "x.safetensors", tiny(before)));
        before.push_back(change);
        return message_of<FileError>([&] { check_start(file, tiny(before), kBase); });
    };
    const auto without_adapter = [](std::vector<std::string> set) {
        return parse_preset(nlohmann::ordered_json::object(), "tiny", set);
    };
    const std::vector<std::string> qformer{"connector.kind=qformer", "connector.dim=24", "connector.heads=4",
                                           "connector.ffn=8"};
    const AdapterFile windows(file_of(temp / "q.safetensors", without_adapter(qformer)));
    for (const std::string set : {"connector.window=3", "connector.heads=2"}) {
        CAPTURE(set);
        auto changed = qformer;
        changed.push_back(set);
        CHECK(message_of<FileError>([&] {
                  check_start(windows, without_adapter(changed), kBase);
              }).find(set.substr(0, set.find('='))) != std::string::npos);
    }
    CHECK_THROWS_WITH_AS(check_start(windows, tiny(), kBase), doctest::Contains("connector.kind=qformer, here wavllm"),
                         FileError);
    const AdapterFile pools(file_of(temp / "p.safetensors", without_adapter({"connector.kind=pooled"})));
    CHECK_THROWS_WITH_AS(check_start(pools, without_adapter({"connector.kind=pooled", "connector.pool=4"}), kBase),
                         doctest::Contains("connector.pool=2, here 4"), FileError);

    const std::vector<std::string> second{"prompt_adapter.hidden=8", "train.trains=adapter+lora+prompt"};
    CHECK(refused(second, "lora.alpha=64").empty());
    CHECK(refused(second, "prompt_adapter.clamp=3").find("prompt_adapter.clamp") != std::string::npos);
    CHECK(refused(second, "prompt_adapter.hidden=9").find("--set prompt_adapter.hidden=8") != std::string::npos);
    CHECK(refused({}, "prompt_adapter.hidden=9").empty());  // a new one
}

TEST_CASE("an adapter's sizes are compared with its tensors before anything is made of them") {
    const TempFolder temp;
    const Preset honest = tiny();
    const AdapterFile file(file_of(temp / "x.safetensors", honest));
    file.check_shapes(honest, tiny_configs());
    const uint64_t before = memory::system_requests();
    for (const auto& [set, name] :
         {std::pair<std::vector<std::string>, const char*>{{"lora.rank=1000000"}, "wq_lora_A"},
          {{"adapter.bottleneck=1000000"}, "down_layer"},
          {{"connector.kind=qformer", "connector.dim=1000000", "connector.heads=1", "connector.layers=1000000"},
           "ln_speech"},
          {{"prompt_adapter.hidden=1000000"}, "scale_fc_1.weight"}}) {
        CAPTURE(name);
        nlohmann::ordered_json json = honest.to_json();
        for (const std::string& s : set) {
            const size_t dot = s.find('.'), equals = s.find('=');
            const std::string value = s.substr(equals + 1);
            auto& at = json[s.substr(0, dot)][s.substr(dot + 1, equals - dot - 1)];
            at = value == "qformer" ? nlohmann::ordered_json(value) : nlohmann::ordered_json(std::stoll(value));
        }
        const Preset large = parse_preset(json, "large");
        CHECK_THROWS_WITH_AS(file.check_shapes(large, tiny_configs()), doctest::Contains(name), FileError);
    }
    BaseConfigs deep = tiny_configs();
    deep.llama.layers = 1000000000;
    CHECK_THROWS_WITH_AS(file.check_shapes(honest, deep), doctest::Contains("layers.2.attention.wq_lora_A"), FileError);
    CHECK(memory::system_requests() == before);
}

TEST_CASE("tensors that are left over are named, with the value that would take them") {
    const TempFolder temp;
    const AdapterFile file(
        file_of(temp / "x.safetensors", tiny({"prompt_adapter.hidden=8", "train.trains=adapter+lora+prompt"})));
    CHECK_THROWS_WITH_AS(file.check_shapes(tiny(), tiny_configs(), true),
                         doctest::Contains("6 tensors have no parameters in this model: scale_fc_1.bias"), FileError);
    CHECK_THROWS_WITH_AS(file.check_shapes(tiny(), tiny_configs(), true),
                         doctest::Contains("--set prompt_adapter.hidden=8"), FileError);
    // the other way round: only a prompt adapter may be new
    const AdapterFile first(file_of(temp / "y.safetensors", tiny()));
    first.check_shapes(tiny({"prompt_adapter.hidden=8"}), tiny_configs(), true);
    CHECK_THROWS_WITH_AS(first.check_shapes(tiny({"prompt_adapter.hidden=8"}), tiny_configs()),
                         doctest::Contains("a first stage's file has none"), FileError);
    const AdapterFile less(file_of(temp / "z.safetensors", tiny({"lora.targets=q"})));
    CHECK_THROWS_WITH_AS(less.check_shapes(tiny(), tiny_configs(), true), doctest::Contains("wk_lora_A"), FileError);
}

TEST_CASE("train.from: the current folder goes before the project's") {
    const TempFolder temp;
    temp.write("project/first.safetensors", "x");
    CHECK(start_file("first.safetensors", temp / "project") == temp / "project/first.safetensors");
    CHECK(start_file(temp / "project/first.safetensors", "/nowhere") == temp / "project/first.safetensors");
    const fs::path before = fs::current_path();
    temp.write("here/first.safetensors", "y");
    fs::current_path(temp / "here");
    const fs::path found = start_file("first.safetensors", temp / "project");
    fs::current_path(before);
    CHECK(found == "first.safetensors");
    CHECK_THROWS_WITH_AS(start_file("second.safetensors", temp / "project"),
                         doctest::Contains("neither in the current folder nor in"), FileError);
}

TEST_CASE("train.from: a released checkpoint is an adapter, with its own base and preset") {
    const TempFolder temp;
    const NoGrad no_grad;
    const fs::path path = temp / "final.pt";
    fs::create_symlink(fs::absolute(shared("golden/final.pt")), path);
    temp.write("config.json", R"({"llm_heads": 3})");
    const AdapterFile file(path);
    CHECK(file.has_prompt_adapter());
    CHECK(file.preset().prompt_adapter.clamp == 3);

    // its base is what `convert --part` makes of it
    BaseModels base;
    for (const auto& [part, option] : {std::pair("whisper", "whisper"), {"wavlm", "wavlm"}, {"llm", "llama"}}) {
        const std::string folder = temp / option;
        std::vector<std::string> command{"convert", path.string(), folder, "--part", option};
        if (part == std::string("whisper")) command.insert(command.end(), {"--heads", "4"});
        if (part == std::string("llm")) command.insert(command.end(), {"--naming", "hf", "--heads", "3"});
        const ProgramResult r = run_program(command);
        CAPTURE(r.err);
        REQUIRE(r.code == 0);
        base[part] = {folder, weights_identity(*open_checkpoint(folder))};
    }
    file.check_base(base);
    base["llm"].identity = std::string(64, 'c');
    const std::string line = message_of<FileError>([&] { file.check_base(base); });
    CHECK_MESSAGE(line.find("--part llama") != std::string::npos, line);

    // values arrive under the names that parameters have here
    const auto checkpoint = open_checkpoint(path);
    const ReleasedCheckpoint parts(*checkpoint, {.whisper = 4, .llama = 3});
    const Wavllm model = parts.model(std::make_shared<const Llama>(parts.llama()));
    Parameters parameters = model.parameters();
    std::map<std::string, std::vector<double>> before;
    for (Parameter& p : parameters) {
        before[p.name] = p.tensor.values();
        p.tensor.assign(Tensor::full(p.tensor.shape(), 7));
    }
    CHECK(!start_from_adapter(file, parameters));
    for (const Parameter& p : parameters) CHECK_MESSAGE(p.tensor.values() == before.at(p.name), p.name);
    // without its prompt adapter it is not taken
    const Wavllm first = parts.model(std::make_shared<const Llama>(parts.llama()), false);
    parameters = first.parameters();
    CHECK_THROWS_WITH_AS(start_from_adapter(file, parameters), doctest::Contains("--set prompt_adapter.hidden=16"),
                         FileError);
}
