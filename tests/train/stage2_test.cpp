// The second training stage: it begins where the first ended, what is frozen stays, and a killed run goes on to the same
// bytes. Witnesses: the first stage's own files, and the uninterrupted run.

#include <doctest/doctest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "models/checkpoint/checkpoint.h"
#include "models/preset/compat.h"
#include "models/weights.h"
#include "tests/support/stage2_model.h"
#include "tests/support/temp_folder.h"
#include "train/start.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

namespace fs = std::filesystem;

/// The tiny model of tiny_model.h with its first values, and a new prompt adapter if hidden > 0.
Wavllm new_model(int64_t hidden) {
    const Wavllm m = tiny_model();
    if (hidden == 0) return m;
    return {m.shared_llama(), m.bridge(), m.lora(), {}, PromptAdapter({.dim = 32, .hidden = hidden, .start = 2}, 6)};
}

/// Two stages in one run.
Preset curriculum(const std::string& second_trains) {
    Preset p = tiny_preset(6);
    p.prompt_adapter.hidden = 12;
    p.train.prompt_rate = 5e-3;
    Stage first = p.all_stages()[0];
    first.name = "first";
    Stage second = first;
    second.name = "second";
    second.trains = second_trains;
    second.steps = 8;
    p.stages = {first, second};
    return p;
}

TrainReport run_in(const fs::path& folder, const Preset& preset, Wavllm model, bool resume = false,
                   int64_t stop_after = -1) {
    const auto examples = stage2_examples(12);
    const std::vector<ExampleSet> train{{"all", {examples.begin(), examples.begin() + 9}}},
        valid{{"valid", {examples.begin() + 9, examples.end()}}};
    const NumberTokenizer tokenizer;
    RunFolder run = resume ? RunFolder::open(folder) : RunFolder::create(folder, preset);
    Trainer::Callbacks callbacks;
    callbacks.step = [&](int64_t step, const Stage&, const StepResult&, double) {
        if (step == stop_after) raise(SIGTERM);
    };
    return Trainer(model, tokenizer, train, valid, run, callbacks).run();
}

std::map<std::string, std::vector<double>> values_in(const fs::path& file) {
    const auto checkpoint = open_checkpoint(file);
    std::map<std::string, std::vector<double>> values;
    for (const StoredTensor& t : checkpoint->tensors()) values[t.name] = to_tensor(t).values();
    return values;
}

std::vector<nlohmann::json> metrics(const fs::path& folder) {
    std::ifstream in(folder / "metrics.jsonl");
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
}

}  // namespace

TEST_CASE("a curriculum of two stages in one run: stopped anywhere and resumed, the same bytes") {
    const TempFolder temp;
    const Preset preset = curriculum("adapter+lora+prompt");
    CHECK(run_in(temp / "whole", preset, new_model(12)).steps_done == 14);
    for (const int64_t stop : {2, 5, 9}) {
        CAPTURE(stop);
        const fs::path folder = temp / fmt::format("stopped{}", stop);
        CHECK(run_in(folder, preset, new_model(12), false, stop).stopped);
        CHECK(run_in(folder, preset, new_model(12), true).steps_done == 14);
        for (const char* file : {"adapter.safetensors", "metrics.jsonl"})
            CHECK_MESSAGE(read_all(folder / file) == read_all(temp / "whole" / file), file);
    }
    // the prompt adapter has moved, and a model without it does not take the file
    const auto values = values_in(temp / "whole/adapter.safetensors");
    CHECK(values.at("scale_fc_2.bias") != std::vector<double>(32, 2));
    for (const auto& line : metrics(temp / "whole"))
        if (line.contains("grad_norm")) CHECK(line.contains("grad_norm_prompt") == (line.at("stage") == "second"));
    Wavllm without = new_model(0);
    Parameters parameters = without.parameters();
    CHECK_THROWS_WITH_AS(load_adapter(temp / "whole/adapter.safetensors", parameters), doctest::Contains("parameters"),
                         FileError);
}

TEST_CASE("a second stage from a first stage's file: the first loss is the first stage's, whatever is frozen stays") {
    const TempFolder temp;
    run_in(temp / "first", tiny_preset(6), new_model(0));
    const auto before = values_in(temp / "first/adapter.safetensors");
    for (const std::string trains : {"adapter+lora", "adapter+lora+prompt", "adapter+prompt", "prompt"}) {
        CAPTURE(trains);
        const bool with = trains.find("prompt") != std::string::npos;
        Preset preset = tiny_preset(5);
        preset.prompt_adapter.hidden = with ? 12 : 0;
        preset.train.from = "first/adapter.safetensors";
        preset.train.trains = trains;
        Wavllm model = new_model(preset.prompt_adapter.hidden);
        Parameters parameters = model.parameters();
        CHECK(start_from_adapter(temp / "first/adapter.safetensors", parameters) == with);
        if (with)
            CHECK_THROWS_WITH_AS(load_adapter(temp / "first/adapter.safetensors", parameters),
                                 doctest::Contains("scale_fc_1.weight"), FileError);
        const fs::path folder = temp / trains;
        run_in(folder, preset, std::move(model));
        const auto after = values_in(folder / "adapter.safetensors");
        for (const auto& [name, value] : after) {
            const bool lora = name.find("_lora_") != std::string::npos, prompt = name.starts_with("scale_");
            const bool trained = trains.find(prompt ? "prompt" : lora ? "lora" : "adapter") != std::string::npos;
            if (!prompt) CHECK_MESSAGE((value != before.at(name)) == trained, name);
        }
        const auto first = metrics(folder).front().at("loss");
        CHECK(first == metrics(temp / "adapter+lora").front().at("loss"));
    }
}

TEST_CASE("one stage for everything at once is possible too, though the prompt adapter waits for LoRA") {
    const TempFolder temp;
    Preset preset = tiny_preset(5);
    preset.prompt_adapter.hidden = 12;
    preset.train.trains = "adapter+lora+prompt";
    CHECK(run_in(temp / "run", preset, new_model(12)).steps_done == 5);
}

TEST_CASE("presets of the second stage: what does not go together is an error that says so") {
    const auto parse = [](const char* text, std::vector<std::string> set = {}) {
        return parse_preset(nlohmann::ordered_json::parse(text), "test", set);
    };
    CHECK_THROWS_WITH_AS(parse(R"({"train": {"trains": "adapter+prompt"}})"),
                         doctest::Contains("prompt_adapter.hidden is 0"), UsageError);
    for (const char* trains : {"prompt", "adapter+prompt"}) {
        const std::string text =
            fmt::format(R"({{"prompt_adapter": {{"hidden": 8}}, "train": {{"trains": "{}"}}}})", trains);
        CHECK_THROWS_WITH_AS(parse(text.c_str()), doctest::Contains("LoRA whose B is still zero"), UsageError);
        CHECK(parse(text.c_str(), {"train.from=x"}).train.from == "x");
    }
    CHECK_THROWS_WITH_AS(parse(R"({"lora": {"targets": "q,x"}})"), doctest::Contains("some of q, k, v and o"),
                         UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"decode": {"beams": 4, "temperature": 0.5}})"), doctest::Contains("either beams or"),
                         UsageError);
    CHECK_THROWS_WITH_AS(parse(R"({"decode": {"begin_with_bos": true}})"), doctest::Contains("llama2"), UsageError);
    CHECK_THROWS_WITH_AS(compat_model("paper"), doctest::Contains("must be \"released\""), UsageError);

    Preset p = parse(R"({"model": {"chat_template": "llama2"}, "prompt_adapter": {"hidden": 16}})");
    CHECK(p.prompt_adapter.clamp == 0);
    CHECK(p.decode.temperature == 0);
    p = with_overrides(with_overrides(p, compat_model("released")), compat_decoding("released"));
    CHECK(p.prompt_adapter.clamp == 3);
    CHECK(p.prompt_adapter.hidden == 16);
    CHECK(p.model.norm_eps == 1e-6);
    CHECK(p.decode.temperature == 0.5);
    CHECK(p.data.max_new_tokens == 512);
    CHECK(p.decode.begin_with_bos);
    CHECK(p.decode.count_prompt);
    CHECK(parse_preset(p.to_json(), "again").to_json() == p.to_json());
}
