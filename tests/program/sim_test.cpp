// What is trained from nothing, and both stages of micro, by the program on the emulated GPU. Witness: the same commands on the
// CPU.

#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/program/program.h"
#include "tests/program/toys.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

using Words = std::vector<std::string>;

/// The losses of a run of this command, whose folder is `out`.
std::vector<double> losses(const TempFolder& folder, const std::string& out, const std::string& device, Words command) {
    const Words where{"--device", device, "--out", folder / out};
    command.insert(command.end(), where.begin(), where.end());
    const ProgramResult r = run_program(command);
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    std::ifstream metrics(std::filesystem::path(folder / out) / "metrics.jsonl");
    std::vector<double> result;
    for (std::string line; std::getline(metrics, line);)
        if (const auto json = nlohmann::json::parse(line); !json.contains("valid"))
            result.push_back(json.at("loss").get<double>());
    return result;
}

void expect_equal(const TempFolder& folder, const std::string& name, const Words& command) {
    CAPTURE(name);
    const std::vector<double> cpu = losses(folder, name + "-cpu", "cpu", command);
    const std::vector<double> sim = losses(folder, name + "-sim", "sim", command);
    REQUIRE(cpu.size() == 2);
    REQUIRE(sim.size() == 2);
    CHECK(cpu[1] != cpu[0]);
    for (size_t i = 0; i < 2; ++i) CHECK(sim[i] == doctest::Approx(cpu[i]).epsilon(1e-6));
}

}  // namespace

TEST_CASE("program: sim: pre-training gives the losses of the cpu") {
    const TempFolder folder;
    const std::string clips = recordings(folder, "clip", 2, 0.5);
    expect_equal(folder, "llama",
                 {"pretrain", "llama", "--text", sentences(folder), "--steps", "2", "--batch-tokens", "64"});
    expect_equal(folder, "wavlm",
                 {"pretrain", "wavlm", "--manifest", clips, "--size", "micro-large", "--clusters", "4", "--steps", "2",
                  "--batch-seconds", "0.5", "--crop-seconds", "0.4", "--alter", "1"});
    expect_equal(folder, "whisper", {"pretrain", "whisper", "--manifest", clips, "--steps", "2"});
}

TEST_CASE("program: sim: both stages of micro give the losses of the cpu") {
    const TempFolder folder;
    const std::string clips = recordings(folder, "clip", 1, 0.5);
    Words command{"train", "--preset", "micro", "--steps", "2", "--frozen", "f32", "--set", "data.train=" + clips};
    expect_equal(folder, "first", command);
    const std::string first = folder / "first-cpu/adapter.safetensors";
    const Words second{"--set", "train.from=" + first,
                       "--set", "prompt_adapter.hidden=16",
                       "--set", "train.trains=adapter+lora+prompt"};
    command.insert(command.end(), second.begin(), second.end());
    expect_equal(folder, "second", command);
}
