// The whole system out of one released checkpoint, through the public path: sound file and prompt in, tokens out. Witness:
// the golden values of the released code (tokens.json, case.json, audio_*.safetensors). Encoder features are rounded to
// bf16 on that path, so embeddings are compared within that; token ids exactly. In float32 `wavllm verify` holds every
// step to the golden values with parts that are loaded by the same class.

#include "models/wavllm/released_system.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "autograd/tape.h"
#include "data/audio.h"
#include "data/chat_turn.h"
#include "data/json.h"
#include "data/tokenizer/sentencepiece.h"
#include "infer/evaluate.h"
#include "tests/program/program.h"
#include "tests/program/replies.h"
#include "tests/support/shared.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

constexpr ReleasedHeads kHeads{.whisper = 4, .llama = 3};

System golden_system(const std::string& file) {
    return load_released_system(*open_checkpoint(shared("golden/" + file)),
                                open_sentencepiece(shared("data/tokenizer/llama2.tokenizer.model")), kHeads);
}

SpeechExample sample(const System& s, const std::string& name, const nlohmann::json& facts) {
    return make_example(s, name, read_audio(shared("golden/audio_" + name + ".wav").string()),
                        facts.at("samples").at(name).at("prompt").get<std::string>());
}

}  // namespace

TEST_CASE("a released checkpoint as a system: tokens in and out are the released code's, from every kind of file") {
    const NoGrad no_grad;
    const nlohmann::json facts = read_json_file(shared("golden/case.json")).at("facts");
    for (const char* file : {"model.safetensors", "final.pt", "final_f16.pt"}) {
        CAPTURE(file);
        const System s = golden_system(file);
        CHECK(s.preset.prompt_adapter.hidden == 16);
        CHECK(s.preset.data.max_new_tokens == 512);
        for (const std::string name : {"a", "b", "long"}) {
            CAPTURE(name);
            const nlohmann::json &fact = facts.at("samples").at(name),
                                 &greedy = facts.at("decoding").at(name).at("stage2").at("greedy");
            const SpeechExample e = sample(s, name, facts);
            CHECK(std::ssize(e.ids.left) == fact.at("left_tokens").get<int64_t>());
            CHECK(std::ssize(e.ids.right) == fact.at("right_tokens").get<int64_t>());
            CHECK(std::ssize(e.ids.instruction) == fact.at("prompt_adapter_tokens").get<int64_t>());
            CHECK(e.speech_rows() == fact.at("speech_tokens").get<int64_t>());
            const SpeechExample* one[] = {&e};
            Tensor borders;
            const Tensor speech = s.model->speech(make_batch(one, false), borders);
            const auto golden = open_checkpoint(shared("golden/audio_" + name + ".safetensors"));
            const auto expected = to_tensor(golden->at("speech_embeddings")).values(), found = speech.values();
            REQUIRE(found.size() == expected.size());
            double worst = 0, largest = 0;
            for (size_t i = 0; i < found.size(); ++i) {
                const double off = std::abs(found[i] - expected[i]);
                if (!(off <= worst)) worst = off;
                largest = std::max(largest, std::abs(expected[i]));
            }
            CHECK(worst <= largest / 128);
            const std::vector<Answer> answers =
                answer(*s.model, *s.tokenizer, one, {.max_new_tokens = static_cast<int64_t>(greedy.size())});
            CHECK(answers[0].tokens == greedy.get<std::vector<int32_t>>());
        }
    }
}

TEST_CASE("a released checkpoint whose numbers of heads no published model has must be told") {
    const auto checkpoint = open_checkpoint(shared("golden/final.pt"));
    CHECK_THROWS_WITH_AS(ReleasedCheckpoint(*checkpoint, {}), doctest::Contains("its LLaMA is 24 wide"), UsageError);
    CHECK_THROWS_WITH_AS(ReleasedCheckpoint(*checkpoint, {.whisper = 4}),
                         doctest::Contains("\"llm_heads\" in a config.json"), UsageError);
    CHECK_THROWS_WITH_AS(ReleasedCheckpoint(*checkpoint, {.whisper = 5, .llama = 3}),
                         doctest::Contains("its Whisper is 64 wide, which 5 heads do not divide"), UsageError);
}

TEST_CASE("program: transcribe and eval take a released checkpoint for an adapter") {
    namespace fs = std::filesystem;
    const TempFolder folder;
    fs::create_symlink(fs::absolute(shared("golden/final.pt")), folder / "final.pt");
    const std::vector<std::string> command{"transcribe",   "--adapter", folder / "final.pt",
                                           "--max-tokens", "8",         shared("golden/audio_a.wav").string()};
    ProgramResult r = run_program(command);
    CHECK(r.code == 1);
    CHECK_MESSAGE(r.err.find("tokenizer.model") != std::string::npos, r.err);
    fs::create_symlink(fs::absolute(shared("data/tokenizer/llama2.tokenizer.model")), folder / "tokenizer.model");
    r = run_program(command);
    CHECK(r.code == 1);
    CHECK_MESSAGE(r.err.find("its LLaMA is 24 wide") != std::string::npos, r.err);
    folder.write("config.json", R"({"whisper_heads": 4, "llm_heads": 3})");
    r = run_program(command);
    CHECK_MESSAGE(r.code == 0, r.err);
    CHECK(r.out.size() > 1);
    folder.write("config.json", R"({"whisper_heads": 4, "llm_heads": "three"})");
    r = run_program(command);
    CHECK(r.code == 1);
    CHECK_MESSAGE(r.err.find("\"llm_heads\" must be") != std::string::npos, r.err);
}

TEST_CASE("program: train goes on from a released checkpoint, on its own frozen models") {
    namespace fs = std::filesystem;
    const TempFolder folder;
    const std::string released = folder / "final.pt";
    fs::create_symlink(fs::absolute(shared("golden/final.pt")), released);
    folder.write("config.json", R"({"whisper_heads": 4, "llm_heads": 3})");
    const auto runs = [](const std::vector<std::string>& command) {
        const ProgramResult r = run_program(command);
        CAPTURE(r.err);
        REQUIRE(r.code == 0);
    };
    runs({"convert", released, folder / "whisper", "--part", "whisper", "--heads", "4"});
    runs({"convert", released, folder / "wavlm", "--part", "wavlm"});
    runs({"convert", released, folder / "llama", "--part", "llama", "--naming", "hf", "--heads", "3"});
    fs::copy(shared("data/tokenizer/llama2.tokenizer.model"), folder / "llama" / "tokenizer.model");
    const ReleasedSizes k = released_sizes(*open_checkpoint(released));
    const auto command = [&](const std::string& out, const std::vector<std::string>& more) {
        std::vector<std::string> all{"train",   "--preset", "7b",         "--compat", "released",
                                     "--steps", "1",        "--no-cache", "--out",    folder / out};
        const std::vector<std::string> values{"model.whisper=" + (folder / "whisper").string(),
                                              "model.wavlm=" + (folder / "wavlm").string(),
                                              "model.llm=" + (folder / "llama").string(),
                                              "model.frozen_dtype=f32",
                                              "train.from=" + released,
                                              fmt::format("adapter.mid={}", k.semantic.mid),
                                              fmt::format("adapter.acoustic_mid={}", k.acoustic.mid),
                                              fmt::format("adapter.dim={}", k.semantic.dim),
                                              fmt::format("adapter.bottleneck={}", k.semantic.bottleneck),
                                              fmt::format("adapter.out={}", k.semantic.out),
                                              fmt::format("lora.rank={}", k.lora_rank),
                                              fmt::format("lora.alpha={}", k.lora_rank),
                                              "prompt_adapter.hidden=16",
                                              "train.trains=adapter+lora+prompt"};
        for (const std::string& set : values) all.insert(all.end(), {"--set", set});
        all.insert(all.end(), more.begin(), more.end());
        return all;
    };
    ProgramResult r = run_program(command("other", {"--set", "model.norm_eps=1e-5"}));
    CHECK(r.code == 1);
    CHECK_MESSAGE(r.err.find("--set model.norm_eps=1e-06") != std::string::npos, r.err);
    runs(command("run", {}));
    CHECK(fs::exists(folder / "run" / "adapter.safetensors"));
    // the adapter in a file of its own knows them, too
    const std::string alone = folder / "alone.safetensors";
    runs({"convert", released, alone, "--part", "adapter"});
    runs(command("from-alone", {"--set", "train.from=" + alone}));
    CHECK(read_all(folder / "from-alone/metrics.jsonl") == read_all(folder / "run/metrics.jsonl"));
    runs({"convert", released, folder / "f16", "--part", "llama", "--naming", "hf", "--heads", "3", "--dtype", "f16"});
    fs::copy(shared("data/tokenizer/llama2.tokenizer.model"), folder / "f16" / "tokenizer.model");
    r = run_program(
        command("on-f16", {"--set", "train.from=" + alone, "--set", "model.llm=" + (folder / "f16").string()}));
    CHECK(r.code == 1);
    CHECK_MESSAGE(r.err.find("alone.safetensors") != std::string::npos, r.err);
}

namespace {

/// final.pt with all that it needs beside it.
std::string released_folder(const TempFolder& folder) {
    namespace fs = std::filesystem;
    fs::create_symlink(fs::absolute(shared("golden/final.pt")), folder / "final.pt");
    fs::create_symlink(fs::absolute(shared("data/tokenizer/llama2.tokenizer.model")), folder / "tokenizer.model");
    folder.write("config.json", R"({"whisper_heads": 4, "llm_heads": 3})");
    return (folder / "final.pt").string();
}

}  // namespace

TEST_CASE(
    "program: transcribe --compat released: --max-tokens wins, and the limit that is named is the one that held") {
    const TempFolder folder;
    const std::string file = released_folder(folder), wav = shared("golden/audio_a.wav").string();
    const auto tokenizer = open_sentencepiece(folder / "tokenizer.model");
    const auto run = [&](const std::vector<std::string>& more) {
        std::vector<std::string> all{"transcribe", "--adapter", file, wav, "--json"};
        all.insert(all.end(), more.begin(), more.end());
        const ProgramResult r = run_program(all);
        CAPTURE(r.err);
        REQUIRE(r.code == 0);
        return std::pair(r.err, nlohmann::json::parse(r.out).at("text").get<std::string>());
    };
    const auto [few_said, few] = run({"--compat", "released", "--max-tokens", "5"});
    CHECK_MESSAGE(few_said.find("more than 5 tokens") != std::string::npos, few_said);
    CHECK(tokenizer->encode(few).size() <= 15);  // 5 random tokens may be spelt anew
    const std::string prompt = "Transcribe.";
    const auto [many_said, many] = run({"--compat", "released", "--temperature", "0", "--prompt", prompt});
    const Prompt parts = make_prompt(ChatTemplate::llama2, prompt, true);
    const size_t counted = prompt_ids(*tokenizer, parts).right.size() - 1;
    CHECK_MESSAGE(many_said.find(fmt::format("more than {} tokens", 512 - counted)) != std::string::npos, many_said);
    CHECK(many.size() > 4 * few.size());
}

TEST_CASE("program: flags that would do nothing are refused") {
    const TempFolder folder;
    const std::string file = released_folder(folder), wav = shared("golden/audio_a.wav").string();
    const auto refused = [&](std::vector<std::string> arguments, std::initializer_list<const char*> named) {
        const ProgramResult r = run_program(arguments);
        CAPTURE(r.err);
        CHECK(r.code != 0);
        CHECK(r.error_lines() == 1);
        for (const char* name : named) CHECK_MESSAGE(r.err.find(name) != std::string::npos, "expected: ", name);
    };
    const std::vector<std::pair<std::vector<std::string>, std::vector<const char*>>> pairs{
        {{"--top-k", "5"}, {"--top-k", "--temperature"}},
        {{"--top-p", "0.5"}, {"--top-p", "--temperature"}},
        {{"--seed", "7"}, {"--seed", "--temperature"}},
        {{"--length-penalty", "2"}, {"--length-penalty", "--beams"}}};
    for (const auto& [flags, named] : pairs)
        for (std::vector<std::string> command : {std::vector<std::string>{"transcribe", "--adapter", file, wav},
                                                 {"chat", "--adapter", file, "--speech", wav, "--prompt", "Hi"}}) {
            command.insert(command.end(), flags.begin(), flags.end());
            refused(command, {named[0], named[1]});
        }
    refused({"eval", "--adapter", file, "--manifest", "x.tsv", "--ctc-weight", "0.9"}, {"--ctc-weight", "--head"});
    refused({"eval", "--adapter", file, "--manifest", "x.tsv", "--batch", "-3"}, {"--batch -3", "at least 1"});
    refused({"chat", "--adapter", file, "--speech", wav, "--prompt", "Hi", "--beams", "2"}, {"--beams 2"});
    // and together they work
    CHECK(run_program({"transcribe", "--adapter", file, wav, "--max-tokens", "4", "--temperature", "0.5", "--top-k",
                       "5", "--top-p", "0.5", "--seed", "7"})
              .code == 0);
    CHECK(run_program(
              {"transcribe", "--adapter", file, wav, "--max-tokens", "4", "--beams", "2", "--length-penalty", "2"})
              .code == 0);
}

// Witness: the template's ids (tests/data/chat_template_test.cpp).
TEST_CASE("program: chat with a LLaMA-2 in its own template, told by the tokenizer") {
    const TempFolder folder;
    const std::string model = (folder / "llama").string();
    const ProgramResult made = run_program(
        {"convert", shared("golden/final.pt").string(), model, "--part", "llama", "--heads", "3", "--naming", "hf"});
    CAPTURE(made.err);
    REQUIRE(made.code == 0);
    std::filesystem::create_symlink(std::filesystem::absolute(shared("data/tokenizer/llama2.tokenizer.model")),
                                    folder / "llama/tokenizer.model");
    const auto tokenizer = open_sentencepiece(folder / "llama/tokenizer.model");
    const auto tokens_of = [&](const Prompt& prompt) { return prompt_ids(*tokenizer, prompt).left.size(); };
    const auto replies_to = [&](std::vector<std::string> more) {
        std::vector<std::string> all{"chat", "--model", model, "--json"};
        all.insert(all.end(), more.begin(), more.end());
        return replies_of(all, folder.write("lines.txt", "Hello there.\nWhy is that?\n"));
    };
    const size_t first = tokens_of(make_prompt(ChatTemplate::llama2, "Hello there.", false)),
                 second = tokens_of(make_turn(ChatTemplate::llama2, "Why is that?", false));
    const auto turns = replies_to({"--max-tokens", "4"}), cut = replies_to({"--max-tokens", "2"});
    REQUIRE(turns.size() == 2);
    CHECK(turns[0].at("prompt_tokens") == first);
    REQUIRE(turns[0].at("reply_tokens") == 3);  // ends by itself: its EOS begins the next turn
    CHECK(turns[1].at("prompt_tokens") == 1 + second);
    CHECK(cut[1].at("prompt_tokens") == 2 + second);  // cut: its last token and the turn's EOS
    Prompt own = make_prompt(ChatTemplate::llama2, "Hello there.", false);
    own.left.front().text = "[INST]<<SYS>>\nBe terse.\n<</SYS>>\n\n";
    CHECK(replies_to({"--system-prompt", "Be terse.", "--max-tokens", "4"})[0].at("prompt_tokens") == tokens_of(own));
    CHECK(replies_to({"--chat-template", "llama2", "--max-tokens", "4"})[0].at("reply") == turns[0].at("reply"));
    const ProgramResult wrong = run_program({"chat", "--model", model, "--prompt", "Hi", "--chat-template", "chatml"});
    CHECK(wrong.code != 0);
    CHECK_MESSAGE(wrong.err.find("--chat-template chatml") != std::string::npos, wrong.err);
}
