// `wavllm train --random-weights`: a run of named sizes without any file. Witness: the parameter counts of the models' authors
// and of the paper, and that steps, memory and times are all there.

#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/program/program.h"

using namespace wavllm;
using namespace wavllm::tests;

TEST_CASE("program: a training run on random weights says what it costs") {
    const TempFolder folder;
    const std::string out = (folder / "run").string();
    const std::vector<std::string> command = {"train",    "--preset",
                                              "7b",       "--steps",
                                              "2",        "--random-weights",
                                              "--frozen", "q4",
                                              "--out",    out,
                                              "--set",    "model.whisper=whisper-tiny",
                                              "--set",    "model.llm=smollm2-135m"};
    const ProgramResult r = run_program(command);
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    for (const char* part : {"M language model", "trained:", "seconds of the steps:", "lora_linear", "weights",
                             "activations", "peak resident memory:"}) {
        CAPTURE(part);
        CHECK(r.out.find(part) != std::string::npos);
    }
    std::ifstream metrics(std::filesystem::path(out) / "metrics.jsonl");
    std::vector<double> losses;
    for (std::string line; std::getline(metrics, line);)
        if (const auto json = nlohmann::json::parse(line); json.contains("loss") && !json.contains("valid"))
            losses.push_back(json.at("loss").get<double>());
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
