// `wavllm train --random-weights`: a run of named sizes without any file. Witness: the parameter counts of the models' authors
// and of the paper, and that steps, memory and times are all there.

#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "models/checkpoint/checkpoint.h"
#include "tests/program/program.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

std::vector<double> losses_of(const std::string& run) {
    std::ifstream metrics(std::filesystem::path(run) / "metrics.jsonl");
    std::vector<double> losses;
    for (std::string line; std::getline(metrics, line);)
        if (const auto json = nlohmann::json::parse(line); json.contains("loss") && !json.contains("valid"))
            losses.push_back(json.at("loss").get<double>());
    return losses;
}

}  // namespace

TEST_CASE("program: a training run on random weights says what it costs") {
    const TempFolder folder;
    const std::string out = (folder / "run").string();
    const std::vector<std::string> command = {"train",    "--preset",
                                              "7b",       "--steps",
                                              "2",        "--random-weights",
                                              "--frozen", "q4",
                                              "--out",    out,
                                              "--set",    "model.whisper=whisper-tiny",
                                              "--set",    "model.llm=smollm2-135m",
                                              "--set",    "model.wavlm=wavlm-micro"};
    const ProgramResult r = run_program(command);
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    for (const char* part : {"M acoustic encoder", "M language model", "trained:", "seconds of the steps:",
                             "lora_linear", "weights", "activations", "peak resident memory:"}) {
        CAPTURE(part);
        CHECK(r.out.find(part) != std::string::npos);
    }
    const std::vector<double> losses = losses_of(out);
    REQUIRE(losses.size() == 2);
    CHECK(losses[0] > 0);
    CHECK(losses[1] != losses[0]);
}

TEST_CASE("program: sizes that are not known are refused, with those that are") {
    const TempFolder folder;
    const ProgramResult r = run_program({"train", "--preset", "7b", "--random-weights", "--out",
                                         (folder / "run").string(), "--set", "model.llm=llama-9"});
    CHECK(r.code == 1);
    CHECK(r.err.find("llama-2-7b-chat") != std::string::npos);
    // and without --random-weights, the ways to have such a model
    const ProgramResult files = run_program({"train", "--preset", "7b", "--out", (folder / "files").string()});
    CHECK(files.code == 1);
    for (const char* part : {"--set model.whisper=FILE-OR-FOLDER", "--random-weights"})
        CHECK_MESSAGE(files.err.find(part) != std::string::npos, files.err);
    CHECK(!std::filesystem::exists(folder / "files"));
}

TEST_CASE(
    "program: micro, both encoders: first stage, second stage from it, without WavLM, and text from its adapter") {
    const TempFolder folder;
    const auto train = [&](const std::string& out, std::vector<std::string> more) {
        std::vector<std::string> command{"train", "--preset", "micro", "--steps", "3", "--out", folder / out};
        command.insert(command.end(), more.begin(), more.end());
        const ProgramResult r = run_program(command);
        CAPTURE(r.err);
        REQUIRE(r.code == 0);
        CHECK((r.out.find("M acoustic encoder") != std::string::npos) == (out != "without"));
        CHECK((r.out.find("; held as they are: lora ") != std::string::npos) == (out == "frozen-lora"));
        CHECK(r.out.find("validation") == std::string::npos);  // there is nothing to validate with
        return losses_of(folder / out);
    };
    const std::string first = (folder / "first").string(), adapter = first + "/adapter.safetensors";
    const std::vector<double> one = train("first", {"--set", "train.seed=7"});
    const std::vector<double> two =
        train("second", {"--set", "train.seed=7", "--set", "train.from=" + adapter, "--set", "prompt_adapter.hidden=16",
                         "--set", "train.trains=adapter+lora+prompt"});
    train("frozen-lora", {"--set", "train.seed=7", "--set", "train.from=" + adapter, "--set",
                          "prompt_adapter.hidden=16", "--set", "train.trains=adapter+prompt"});
    const std::vector<double> without = train("without", {"--set", "train.seed=7", "--set", "model.wavlm="});
    REQUIRE(one.size() == 3);
    REQUIRE(two.size() == 3);
    REQUIRE(without.size() == 3);
    CHECK(two[0] < one[0]);  // it goes on where the first stage ended
    CHECK(without[0] != one[0]);

    ProgramResult r = run_program({"transcribe", "--adapter", adapter, "--max-tokens", "4",
                                   std::string(WAVLLM_SOURCE_DIR) + "/samples/digits/0_george_0.flac"});
    CHECK_MESSAGE(r.code == 0, r.err);
    // --frozen: the adapter on other weights than its preset's, which take a third of the bytes
    const auto weights_with = [&](const char* frozen) {
        r = run_program({"eval", "--adapter", adapter, "--manifest",
                         std::string(WAVLLM_SOURCE_DIR) + "/samples/half_minute.tsv", "--no-cache", "--frozen", frozen,
                         "--memory"});
        REQUIRE_MESSAGE(r.code == 0, r.err);
        const size_t at = r.err.find("\nweights");
        REQUIRE(at != std::string::npos);
        return std::stod(r.err.substr(at + 1 + 25));  // the peak, in MB, behind what is there now
    };
    CHECK(weights_with("q8_0") < 0.6 * weights_with("f32"));
    // its base must be there, whole, and the same
    const auto with_base = [&](const std::string& base) {
        const auto file = open_checkpoint(adapter);
        std::vector<TensorToStore> tensors;
        for (const StoredTensor& t : file->tensors()) tensors.push_back({t.name, t.dtype, t.shape, t.bytes});
        std::vector<std::pair<std::string, std::string>> metadata{
            {"preset", file->metadata().at("__metadata__").at("preset").get<std::string>()}};
        if (!base.empty()) metadata.emplace_back("base", base);
        write_safetensors(folder / "changed.safetensors", tensors, metadata);
        return (folder / "changed.safetensors").string();
    };
    const auto refused = [&](const std::vector<std::string>& command, const std::string& what) {
        const ProgramResult p = run_program(command);
        CHECK(p.code == 1);
        CHECK_MESSAGE(p.err.find(what) != std::string::npos, p.err);
    };
    const std::string clip = std::string(WAVLLM_SOURCE_DIR) + "/samples/digits/0_george_0.flac";
    for (const char* base :
         {"", "{}", R"({"llm": {"name": "llama-micro", "identity": "drawn at random from seed 7"}})"})
        refused({"transcribe", "--adapter", with_base(base), clip}, "it does not say which");
    refused({"transcribe", "--adapter", with_base("[1]"), clip}, "no text");
    // a second stage with other values, from another seed, from a file that says nothing: no folder is left behind
    const std::vector<std::string> second{
        "train", "--preset", "micro", "--steps", "1", "--out", folder / "x", "--set", "train.from=" + adapter};
    const auto with = [&](std::vector<std::string> set) {
        std::vector<std::string> command = second;
        for (const std::string& s : set) command.insert(command.end(), {"--set", s});
        return command;
    };
    refused(with({"train.seed=7", "lora.alpha=64"}), "--set lora.alpha=16");
    refused(with({"train.seed=8"}), "drawn at random from seed 7");
    refused(with({"train.seed=7", "train.from=" + with_base("")}), "it does not say which");
    CHECK(!std::filesystem::exists(folder / "x"));
    r = run_program(with({"train.seed=7", "lora.alpha=64", "train.from_changes=lora.alpha"}));
    CHECK_MESSAGE(r.code == 0, r.err);
    CHECK(r.err.find("lora.alpha changes from 16") != std::string::npos);
    // an adapter of both encoders has no place in a model of one
    r = run_program({"train", "--preset", "micro", "--steps", "3", "--out", folder / "other", "--set", "train.seed=7",
                     "--set", "model.wavlm=", "--set", "train.from=" + adapter});
    CHECK(r.code == 1);
    CHECK_MESSAGE(r.err.find("adapter.safetensors") != std::string::npos, r.err);
}
