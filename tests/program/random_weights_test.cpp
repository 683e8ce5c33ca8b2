// `wavllm train --random-weights`: a run of named sizes without any file. Witness: the parameter counts of the models' authors
// and of the paper, and that steps, memory and times are all there.

#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

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
        return losses_of(folder / out);
    };
    const std::string first = (folder / "first").string(), adapter = first + "/adapter.safetensors";
    const std::vector<double> one = train("first", {"--set", "train.seed=7"});
    const std::vector<double> two =
        train("second", {"--set", "train.seed=7", "--set", "train.from=" + adapter, "--set", "prompt_adapter.hidden=16",
                         "--set", "train.trains=adapter+lora+prompt"});
    const std::vector<double> without = train("without", {"--set", "train.seed=7", "--set", "model.wavlm="});
    REQUIRE(one.size() == 3);
    REQUIRE(two.size() == 3);
    REQUIRE(without.size() == 3);
    CHECK(two[0] < one[0]);  // it goes on where the first stage ended
    CHECK(without[0] != one[0]);

    ProgramResult r = run_program({"transcribe", "--adapter", adapter, "--max-tokens", "4",
                                   std::string(WAVLLM_SOURCE_DIR) + "/samples/digits/0_george_0.flac"});
    CHECK_MESSAGE(r.code == 0, r.err);
    // an adapter of both encoders has no place in a model of one
    r = run_program({"train", "--preset", "micro", "--steps", "3", "--out", folder / "other", "--set", "train.seed=7",
                     "--set", "model.wavlm=", "--set", "train.from=" + adapter});
    CHECK(r.code == 1);
    CHECK_MESSAGE(r.err.find("adapter.safetensors") != std::string::npos, r.err);
}
