// What the program prints where all is well. Witness: numbers known from elsewhere (the published parameter counts of
// the models), and JSON that must parse.

#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "infer/wer.h"
#include "models/preset/preset.h"
#include "tests/program/program.h"
#include "tests/program/replies.h"
#include "tests/support/real_models.h"
#include "tests/support/shared.h"
#include "train/run_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

TEST_CASE("program: every subcommand explains itself with an example") {
    const ProgramResult all = run_program({"--help"});
    CHECK(all.code == 0);
    for (const std::string name : {"inspect", "convert", "bench", "data", "demo", "eval", "report", "train",
                                   "transcribe", "chat", "perplexity", "pretrain"}) {
        CAPTURE(name);
        CHECK(all.out.find("  " + name) != std::string::npos);
        const ProgramResult help = run_program({name, "--help"});
        CHECK(help.code == 0);
        CHECK(help.out.find("Example:\n  wavllm " + name) != std::string::npos);
    }
    for (const std::string part : {"kernels", "fusion", "encoder", "step"}) {
        CAPTURE(part);
        CHECK(run_program({"bench", part, "--help"}).out.find("wavllm bench " + part) != std::string::npos);
    }
    for (const std::string part : {"wavlm", "llama", "whisper", "probe"}) {
        CAPTURE(part);
        CHECK(run_program({"pretrain", part, "--help"}).out.find("wavllm pretrain " + part) != std::string::npos);
    }
    for (const std::string part : {"augment", "cache", "check", "split", "synth"}) {
        CAPTURE(part);
        CHECK(run_program({"data", part, "--help"}).out.find("wavllm data " + part) != std::string::npos);
    }
}

TEST_CASE("program: inspect counts what the models' authors count") {
    real_model("smollm2-135m-instruct-q4_1");  // in the cache, so that no download stands in the test's time
    const ProgramResult r = run_program({"inspect", "smollm2-135m-instruct-q4_1", "--json"});
    REQUIRE(r.code == 0);
    const auto facts = nlohmann::json::parse(r.out);
    CHECK(facts.at("format") == "gguf");
    CHECK(facts.at("parameters") == 134515008);  // SmolLM2-135M's model card
    CHECK(facts.at("dtypes").at("q4_1").at("tensors") == 210);
    CHECK(facts.at("dtypes").at("f32").at("tensors") == 61);

    real_model("whisper-base");
    const ProgramResult w = run_program({"inspect", "whisper-base", "--json", "--tensors"});
    REQUIRE(w.code == 0);
    const auto whisper = nlohmann::json::parse(w.out);
    // 72,593,920 parameters of Whisper base (transformers' num_parameters()); the encoder's 1500 x 512 stored
    // positions are among them. CTranslate2 keeps no bias for k: it stores zeros in the joined q, k, v.
    CHECK(whisper.at("parameters").get<int64_t>() >= 72593920);
    CHECK(whisper.at("parameters").get<int64_t>() < 72700000);
    CHECK(whisper.at("tensor_list").size() == whisper.at("tensors").get<size_t>() + 1);  // the tied output matrix
}

TEST_CASE("program: a preset's values are printed as they are read") {
    const ProgramResult r = run_program({"inspect", "small-digits", "--json"});
    REQUIRE(r.code == 0);
    CHECK(nlohmann::json::parse(r.out).at("model").at("whisper") == "whisper-base");
}

TEST_CASE("program: transcribe FILE: the adapter that ships hears a speaker it was not trained on") {
    real_model("whisper-base");
    real_model("smollm2-135m-instruct-q4_1");
    const std::filesystem::path home = WAVLLM_SOURCE_DIR, folder = home / "adapters" / "small";
    CHECK(std::filesystem::file_size(folder / "adapter.safetensors") <= 16'000'000);
    CHECK(std::filesystem::file_size(folder / "report.html") > 100'000);
    const auto base = nlohmann::json::parse(read_all(folder / "base.json"));
    CHECK(base.at("files").size() >= 5);
    CHECK(adapter_preset(folder / "adapter.safetensors").to_json() == load_preset(folder / "config.json").to_json());

    const std::string file = (home / "samples" / "sentences" / "jfk.flac").string();
    const std::string said =
        "and so my fellow americans ask not what your country can do for you ask what you can do for your country";
    for (const std::string head : {"", "ctc", "llm"}) {
        CAPTURE(head);
        std::vector<std::string> arguments{"transcribe", file, "--json"};
        if (!head.empty()) arguments.insert(arguments.end(), {"--head", head});
        const ProgramResult r = run_program(arguments);
        CAPTURE(r.err);
        REQUIRE(r.code == 0);
        const auto facts = nlohmann::json::parse(r.out);
        CHECK(facts.at("by").get<std::string>().find(head.empty() ? "joint" : head) != std::string::npos);
        ErrorRates rates;
        rates.add(said, facts.at("text").get<std::string>());
        CAPTURE(facts.at("text").get<std::string>());
        CHECK(rates.normal_words.rate() <= 0.35);
    }
}

TEST_CASE("program: verify --dtype f64") {
    const std::string golden = shared("golden").string();
    const ProgramResult r =
        run_program({"verify", "--golden", golden, "--dtype", "f64", "--only", "llama_namings", "--json"});
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    const auto in_f32 =
        nlohmann::json::parse(run_program({"verify", "--golden", golden, "--only", "llama_namings", "--json"}).out);
    const auto error_of = [](const nlohmann::json& report) {
        double worst = 0;
        for (const auto& line : report.at("values"))
            if (line.at("name") == "logits") worst = line.at("error");
        return worst;
    };
    const double f64 = error_of(nlohmann::json::parse(r.out)), f32 = error_of(in_f32);
    CHECK(f64 > 0);  // the golden values are rounded
    CHECK(f64 < 0x1p-23);
    CHECK(f32 > 2 * f64);
}

// Witness: the same message in text, and `transcribe` with the same prompt and head.
TEST_CASE("program: chat about recordings: the cascade reads what Whisper heard, a WavLLM hears itself") {
    real_model("whisper-base");
    real_model("smollm2-135m-instruct-q4_1");
    const std::filesystem::path home = WAVLLM_SOURCE_DIR;
    const std::string file = (home / "samples" / "sentences" / "jfk.flac").string();
    const std::string question = "Which country does the speaker address?";
    const auto cascade = replies_of(
        {"chat", "--system", "cascade", "--speech", file, "--prompt", question, "--max-tokens", "24", "--json"});
    REQUIRE(cascade.size() == 1);
    const std::string heard = cascade[0].at("transcript");
    ErrorRates rates;
    rates.add(
        "And so my fellow Americans ask not what your country can do for you, ask what you can do for your country.",
        heard);
    CAPTURE(heard);
    CHECK(rates.normal_words.rate() <= 0.1);
    const auto text = replies_of(
        {"chat", "--prompt", "A recording says: \"" + heard + "\"\n\n" + question, "--max-tokens", "24", "--json"});
    CHECK(text[0].at("reply") == cascade[0].at("reply"));
    CHECK(text[0].at("prompt_tokens") == cascade[0].at("prompt_tokens"));
    CHECK(!text[0].contains("transcript"));

    const std::string instruction = "Transcribe the audio clip into text.";
    const ProgramResult t = run_program({"transcribe", file, "--head", "llm", "--prompt", instruction, "--json"});
    REQUIRE(t.code == 0);
    const TempFolder folder;
    const std::string lines = folder.write("lines.txt", instruction + "\n" + instruction + "\nThank you.\n");
    const auto said = replies_of({"chat", "--speech", file, file, "--max-tokens", "64", "--json"}, lines);
    REQUIRE(said.size() == 3);  // two clips and a turn in text, in one conversation
    CHECK(said[0].at("reply") == nlohmann::json::parse(t.out).at("text"));
    CHECK(said[1].at("speech") == file);
    CHECK(!said[2].contains("speech"));
    // activation tuning: without LoRA the answer is another one
    const auto bare = replies_of(
        {"chat", "--speech", file, "--prompt", instruction, "--lora-scale", "0", "--max-tokens", "24", "--json"});
    CHECK(bare[0].at("reply") != said[0].at("reply"));
}

TEST_CASE("program: bench kernels gives every figure of its table") {
    const TempFolder folder;
    const std::string file = folder / "kernels.json";
    const ProgramResult r = run_program({"bench", "kernels", "--op", "scale", "--json", file});
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    const auto facts = nlohmann::json::parse(read_all(file));
    CHECK(facts.at("machine").at("gemm_f32_flops_per_second").get<double>() > 1e8);
    CHECK(facts.at("machine").at("read_bytes_per_second").get<double>() > 1e8);
    REQUIRE(!facts.at("cases").empty());
    for (const auto& op : facts.at("cases")) {
        CHECK(op.at("forward_seconds").at("runs").get<int>() >= 5);
        CHECK(op.at("forward_seconds").at("median").get<double>() > 0);
        CHECK(op.at("backward_seconds").at("median").get<double>() > 0);
        CHECK(op.at("share_of_roof").get<double>() > 0);
    }
}

TEST_CASE("program: bench kernels on sim counts sectors, bank conflicts and the steps of a ladder") {
    const auto run = [](std::vector<std::string> more) {
        std::vector<std::string> arguments{"--device", "sim", "bench", "kernels", "--json", "-", "--op"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const ProgramResult r = run_program(arguments);
        CAPTURE(r.err);
        REQUIRE(r.code == 0);
        return nlohmann::json::parse(r.out);
    };
    const auto silu = run({"silu"});
    CHECK(silu.at("device") == "sim");
    REQUIRE(silu.at("passes").size() == 2);  // forward and backward of one case
    const auto& forward = silu.at("passes").at(0);
    CHECK(forward.at("pass") == "forward");
    REQUIRE(forward.at("kernels").size() == 1);
    CHECK(forward.at("kernels").at(0).at("bytes_loaded") == 640 * 576 * 4);
    CHECK(forward.at("kernels").at(0).at("load_sectors") == 640 * 576 * 4 / 32);
    CHECK(forward.at("kernels").at(0).at("sectors_of_ideal") == 1.0);

    const auto ladder = run({"softmax", "--ladder"}).at("ladders").at(0);
    REQUIRE(ladder.at("steps").size() == 3);
    CHECK(ladder.at("steps").at(0).at("kernels").at(0).at("sectors_of_ideal") == doctest::Approx(8));
    CHECK(ladder.at("steps").at(2).at("kernels").at(0).at("sectors_of_ideal") == 1.0);

    CHECK(run_program({"bench", "kernels", "--ladder"}).err.find("--device sim") != std::string::npos);
    CHECK(run_program({"--device", "sim", "bench", "kernels", "--ladder", "--op", "silu"}).err.find("no ladder") !=
          std::string::npos);
}

TEST_CASE("program: bench fusion on sim counts what a fusion saves") {
    const ProgramResult r = run_program({"--device", "sim", "bench", "fusion", "--op", "silu_mul", "--json", "-"});
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    const auto facts = nlohmann::json::parse(r.out);
    REQUIRE(facts.at("fusions").size() == 1);
    const auto &fused = facts.at("fusions").at(0).at("fused"), &composed = facts.at("fusions").at(0).at("composed");
    CHECK(fused.at("launches").get<int>() < composed.at("launches").get<int>());
    CHECK(fused.at("bytes_moved").get<double>() < composed.at("bytes_moved").get<double>());
    CHECK(fused.at("value_error").get<double>() < 1e-6);
}

TEST_CASE("program: bench step needs no download and asks for no memory once it runs") {
    const ProgramResult r =
        run_program({"bench", "step", "--layers", "2", "--tokens", "24", "--targets", "4", "--json", "-"});
    REQUIRE(r.code == 0);
    const auto facts = nlohmann::json::parse(r.out);
    CHECK(facts.at("seconds").at("runs") == 5);
    CHECK(facts.at("memory_requests") == 0);
    CHECK(facts.at("trainable_parameters") == 2 * 32 * (2 * (576 + 576) + 2 * (576 + 192)));
}
