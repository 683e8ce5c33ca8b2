// Training and decoding on devices with CUDA bodies: the losses of the CPU within 1e-5 relative and its texts, the same
// bits again and for any order of threads, files that move between devices. Witness: the CPU.

#include <doctest/doctest.h>
#include <signal.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "infer/evaluate.h"
#include "kernels/common/on_device.h"
#include "kernels/simt/emulator.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

namespace fs = std::filesystem;

constexpr int64_t kCtcSteps = 4, kJointSteps = 5;

struct Result {
    std::vector<double> numbers;  ///< of every step: loss, CE, CTC, gradient norms, as the run wrote them
    std::vector<std::string> texts;
    std::string adapter;  ///< the file's bytes
};

void add_numbers(const nlohmann::json& value, std::vector<double>& to) {
    if (value.is_number_float()) to.push_back(value);
    if (value.is_structured())
        for (const auto& [key, inner] : value.items())
            if (key != "seconds") add_numbers(inner, to);
}

std::vector<std::string> texts_of(const Wavllm& model, std::span<const SpeechExample> examples) {
    const NumberTokenizer tokenizer;
    const auto all = pointers(examples);
    const AnswerOptions options{.max_new_tokens = 6, .batch = 3};
    std::vector<std::string> texts;
    for (const Answer& a : answer(model, tokenizer, all, options)) texts.push_back("llm: " + a.text);
    for (const Answer& a : answer_by_ctc(model, tokenizer, all)) texts.push_back("ctc: " + a.text);
    return texts;
}

/// A run of two stages: CTC, then cross-entropy with LoRA; masks, dropout and sampling of classes are on.
Result train_on(Device device, const fs::path& folder, std::optional<Device> resume_on = {}) {
    const auto examples = tiny_examples(12);
    const std::vector<ExampleSet> train{{"few", {examples.begin(), examples.begin() + 3}},
                                        {"many", {examples.begin() + 3, examples.begin() + 9}}};
    const std::vector<ExampleSet> valid{{"valid", {examples.begin() + 9, examples.end()}}};
    const NumberTokenizer tokenizer;
    Result result;
    for (const bool second : {false, true}) {
        if (second && !resume_on) break;
        const DeviceScope scope(second ? *resume_on : device);
        Wavllm model = tiny_ctc_model();
        RunFolder run =
            second ? RunFolder::open(folder) : RunFolder::create(folder, tiny_staged_preset(kCtcSteps, kJointSteps));
        Trainer::Callbacks callbacks;
        if (resume_on && !second)
            callbacks.step = [](int64_t step, const Stage&, const StepResult&, double) {
                if (step == 5) raise(SIGINT);
            };
        Trainer(model, tokenizer, train, valid, run, callbacks).run();
        for (const Parameter& p : model.parameters()) CHECK(p.tensor.device() == model_device());
        result.texts = texts_of(model, examples);
    }
    std::ifstream metrics(folder / "metrics.jsonl");
    for (std::string line; std::getline(metrics, line);) add_numbers(nlohmann::json::parse(line), result.numbers);
    result.adapter = read_all(folder / "adapter.safetensors");
    return result;
}

void expect_close(const std::vector<double>& actual, const std::vector<double>& expected) {
    REQUIRE(actual.size() == expected.size());
    REQUIRE(actual.size() > 3 * (kCtcSteps + kJointSteps));
    for (size_t i = 0; i < actual.size(); ++i) {
        CAPTURE(i);
        CHECK(actual[i] == doctest::Approx(expected[i]).epsilon(1e-5));
    }
}

}  // namespace

TEST_CASE("sim: training gives the losses of the cpu, and greedy texts are equal") {
    const TempFolder temp;
    const Result cpu = train_on(Device::cpu, temp.path() / "cpu"), sim = train_on(Device::sim, temp.path() / "sim");
    expect_close(sim.numbers, cpu.numbers);
    CHECK(sim.texts == cpu.texts);
}

TEST_CASE("sim: a run repeats to the bit, for any order of threads") {
    const TempFolder temp;
    const Result first = train_on(Device::sim, temp.path() / "first");
    simt::set_seed(11);
    const Result again = train_on(Device::sim, temp.path() / "again");
    simt::set_seed(0);
    CHECK(again.adapter == first.adapter);
    CHECK(again.numbers == first.numbers);
}

TEST_CASE("a run begun on sim goes on on the cpu") {
    const TempFolder temp;
    const Result cpu = train_on(Device::cpu, temp.path() / "cpu");
    const Result both = train_on(Device::sim, temp.path() / "both", Device::cpu);
    expect_close(both.numbers, cpu.numbers);
    CHECK(both.texts == cpu.texts);
}
