// Pre-training as a user runs it: bad input, the probe, and a WavLLM all of whose parts were trained here.
// Witnesses: messages that name what is wrong; splits and choices that are counted here.

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tests/program/program.h"
#include "tests/program/toys.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

void fails(const std::vector<std::string>& arguments, const std::string& expected) {
    const ProgramResult r = run_program(arguments);
    CAPTURE(r.err);
    CHECK(r.code == 1);
    CHECK_MESSAGE(r.err.find(expected) != std::string::npos, "expected: ", expected);
}

}  // namespace

TEST_CASE("program: pretrain: what was mistyped can be corrected in the same folder") {
    const TempFolder folder;
    const std::string out = folder / "run", text = sentences(folder), clips = recordings(folder, "clip", 3, 0.5);
    const std::vector<std::string> llama{"pretrain", "llama", "--out", out};
    const auto with = [](std::vector<std::string> command, const std::vector<std::string>& more) {
        command.insert(command.end(), more.begin(), more.end());
        return command;
    };
    fails(with(llama, {"--text", text, "--size", "smal"}), "the sizes are micro and small, not \"smal\"");
    fails(with(llama, {"--text", folder / "missing.txt"}), "missing.txt");
    fails(with(llama, {"--text", text, "--longest", "2048"}), "longest = 2048 is out of range (1 to 2047)");
    fails(with(llama, {"--text", text, "--batch-tokens", "20"}), "raise --batch-tokens or lower --longest");
    const std::string one = folder.write("one.txt", "the cat sees the dog.\n").string();
    fails(with(llama, {"--text", one}), "of 1 sentences 1 of at most 256 bytes are kept back");
    const ProgramResult right = run_program(with(llama, {"--text", text, "--steps", "1", "--batch-tokens", "64"}));
    CAPTURE(right.err);
    REQUIRE(right.code == 0);
    CHECK(right.out.find("14 lines: 1 left out") != std::string::npos);
    CHECK(right.out.find("1 repeated") != std::string::npos);
    fails(with(llama, {"--text", text}), "a run is there already");
    fails(with(llama, {"--resume", "--steps", "9"}),
          "a resumed run has its options in pretrain.json; leave --steps out");
    fails(with(llama, {"--resume", "--text", text}), "leave --text out");
    fails({"pretrain", "whisper", "--resume", "--out", out}, "this run is of `wavllm pretrain llama`");
    CHECK(run_program(with(llama, {"--resume"})).code == 0);  // at its end already

    const std::vector<std::string> wavlm{"pretrain", "wavlm", "--out", folder / "wavlm", "--manifest", clips};
    fails(with(wavlm, {"--layer", "2"}), "leave --layer out");
    fails(with(wavlm, {"--crop-seconds", "nan"}), "crop_seconds = nan is out of range");
    fails(with(wavlm, {"--crop-seconds", "1e18"}), "crop_seconds = 1e+18 is out of range");
    fails(with(wavlm, {"--mask-start", "1"}), "mask_start = 1 would hide every frame");
    fails(with(wavlm, {"--clusters", "5000"}), "5000 clusters of");
    fails(with(wavlm, {"--batch-seconds", "0.2", "--clusters", "2"}), "raise --batch-seconds or cut clips shorter");
    const std::vector<std::string> whisper{"pretrain", "whisper", "--out", folder / "whisper", "--manifest", clips};
    fails(with(whisper, {"--batch-seconds", "1"}), "with its silence, but a batch only 1 s; raise --batch-seconds");
    fails({"pretrain", "wavlm", "--out", folder / "w2", "--manifest", recordings(folder, "short", 1, 0.04)},
          "has 640 samples at 16 kHz, but 720 are needed");
}

TEST_CASE("program: pretrain: a WavLLM of parts that were all trained here") {
    const TempFolder folder;
    const std::string clips = recordings(folder, "clip", 12, 0.5);
    const auto runs = [](const std::vector<std::string>& command) {
        const ProgramResult r = run_program(command);
        CAPTURE(r.err);
        REQUIRE(r.code == 0);
        return r.out;
    };
    const std::string llama = folder / "llama", whisper = folder / "whisper", wavlm = folder / "wavlm";
    runs({"pretrain", "llama", "--text", sentences(folder), "--steps", "2", "--batch-tokens", "64", "--out", llama});
    runs({"pretrain", "whisper", "--manifest", clips, "--steps", "2", "--batch-seconds", "5", "--out", whisper});
    runs({"pretrain", "wavlm", "--manifest", clips, "--steps", "2", "--batch-seconds", "2", "--clusters", "8", "--out",
          wavlm});
    runs({"train",
          "--preset",
          "micro",
          "--set",
          "model.random_weights=false",
          "--set",
          "model.whisper=" + whisper + "/model",
          "--set",
          "model.wavlm=" + wavlm + "/model",
          "--set",
          "model.llm=" + llama + "/model",
          "--set",
          "data.train=" + clips,
          "--set",
          "data.batch_seconds=6",
          "--steps",
          "2",
          "--no-cache",
          "--out",
          folder / "run"});
    CHECK(std::filesystem::exists(folder / "run" / "adapter.safetensors"));
    CHECK(runs({"transcribe", "--adapter", folder / "run" / "adapter.safetensors", "--max-tokens", "4",
                folder / "clip0.wav"})
              .size() > 0);
    CHECK(runs({"perplexity", "--model", llama + "/model", "--text", folder / "text.txt", "--frozen", "f32"})
              .find("\nf32 ") != std::string::npos);
    fails({"chat", "--model", llama + "/model", "--prompt", "hello"}, "or measure this one with `wavllm perplexity`");

    // Clips 0 to 11 of three speakers: of each speaker's four the second and fourth test.
    const std::vector<std::string> probe{"pretrain", "probe",     "--model", wavlm,    "--manifest",
                                         clips,      "--seconds", "0.25",    "--json", "-"};
    const auto plain = nlohmann::json::parse(runs(probe));
    CHECK(plain.at("speakers") == 3);
    CHECK(plain.at("train") == 12);  // two pieces a clip
    CHECK(plain.at("test") == 12);
    const nlohmann::json* best = nullptr;
    for (const nlohmann::json& f : plain.at("features"))
        if (f.at("name").get<std::string>().starts_with("WavLM") &&
            (best == nullptr || f.at("fold_accuracy") > best->at("fold_accuracy")))
            best = &f;
    REQUIRE(best != nullptr);
    CHECK(plain.at("chosen") == best->at("name"));
    // copies: those of clips that train, and those that are shorter than a piece, have no part in it
    auto altered = probe;
    altered.insert(altered.end(), {"--altered", recordings(folder, "copy", 5, 0.24, "-a1")});
    const auto copies = nlohmann::json::parse(runs(altered));
    CHECK(copies.at("train") == 12);
    CHECK(copies.at("test") == 2);  // of clips 3 and 4, of 0.27 and 0.28 s
    altered.insert(altered.end(), {"--least", "2"});
    CHECK(run_program(altered).err.find("--least") != std::string::npos);
    fails({"pretrain", "probe", "--model", wavlm, "--manifest", clips, "--seconds", "nan"},
          "--seconds nan is out of range");
}
