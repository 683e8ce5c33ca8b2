// The program against bad input. Witness: each case is a promise of the issue, checked on the built program itself: one
// line on stderr that names what is wrong, a non-zero exit code, no signal, nothing on stdout.

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "models/checkpoint/checkpoint.h"
#include "tests/program/program.h"
#include "tests/support/shared.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

/// Runs it and checks what all failures have in common; `expected` must stand in the message.
void fails(const std::vector<std::string>& arguments, const std::vector<std::string>& expected,
           const std::string& input = "/dev/null") {
    const ProgramResult r = run_program(arguments, input);
    CAPTURE(r.err);
    CAPTURE(r.out);
    CHECK(r.code != 0);
    CHECK_MESSAGE(r.code < 128, "died of a signal");
    CHECK(r.error_lines() == 1);
    CHECK(r.err.starts_with("wavllm: "));
    CHECK(r.out.empty());
    for (const std::string& text : expected) CHECK_MESSAGE(r.err.find(text) != std::string::npos, "expected: ", text);
}

constexpr const char* kHeader = "id\taudio\tprompt\ttgt_text\n";

/// A GGUF v3 file with one f32 tensor of 64 elements, whole: inspect must accept it, so that the cut ones below fail
/// because they are cut.
std::string small_gguf() {
    std::string file = "GGUF";
    const auto number = [&](uint64_t v, int bytes) {
        for (int i = 0; i < bytes; ++i) file += static_cast<char>(v >> (8 * i));
    };
    const auto text = [&](const std::string& s) {
        number(s.size(), 8);
        file += s;
    };
    number(3, 4);  // version
    number(1, 8);  // tensors
    number(1, 8);  // key-values
    text("general.architecture");
    number(8, 4);  // a string
    text("llama");
    text("a.weight");
    number(1, 4);  // dimensions
    number(64, 8);
    number(0, 4);  // f32
    number(0, 8);  // offset
    file.resize((file.size() + 31) / 32 * 32, '\0');
    file.resize(file.size() + 64 * 4, '\1');
    return file;
}

}  // namespace

TEST_CASE("program: command lines that make no sense") {
    fails({}, {"name a subcommand", "inspect", "--help"});
    fails({"--no-such-option"}, {"--no-such-option"});
    fails({"inspect", "--no-such-option", "x"}, {"--no-such-option", "wavllm inspect --help"});
    fails({"transcrib", "a.wav"}, {"transcrib", "did you mean transcribe"});
    fails({"inspect"}, {"what is required"});
    fails({"bench"}, {"bench --help"});
    fails({"bench", "kernels", "--op", "rms_nrom"}, {"rms_nrom", "did you mean rms_norm"});
    fails({"bench", "kernels", "--runs", "2"}, {"--runs 2", "at least 5"});
    fails({"bench", "step", "--targets", "200"}, {"--targets 200"});
    fails({"inspect", "x", "--threads", "-3"}, {"--threads -3"});
    fails({"inspect", "x", "--threads", "many"}, {"many"});
    fails({"inspect", "x", "--device", "gpu"}, {"gpu", "cuda"});
    fails({"inspect", "x", "--device", "cuda"}, {"cuda"});
    fails({"inspect", "x", "--fusion", "no_such_fusion"}, {"no_such_fusion", "silu_mul"});
    fails({"transcribe"}, {"--manifest"});
    fails({"chat", "--prompt", "hi", "--max-tokens", "0"}, {"--max-tokens 0"});
    fails({"chat", "--prompt", "hi", "--system", "You are terse."}, {"--system You are terse.", "--system-prompt"});
    fails({"chat", "--prompt", "hi", "--system", "llm", "--speech", "no/such.wav"}, {"no/such.wav"});
    fails({"chat", "--prompt", "hi", "--lora-scale", "0.5"}, {"--lora-scale", "--system llm"});
    fails({"chat", "--prompt", "hi", "--system", "cascade", "--adapter", "x"}, {"--adapter", "--system cascade"});
    fails({"chat", "--prompt", "hi", "--system", "wavllm", "--model", "x"}, {"--model", "--system wavllm"});
}

TEST_CASE("program: verify in a dtype that there is not") {
    const std::string golden = shared("golden").string();
    fails({"verify", "--golden", golden, "--dtype", "f16"}, {"unknown dtype \"f16\"", "f32", "f64"});
    fails({"--device", "sim", "verify", "--golden", golden, "--dtype", "f64"},
          {"reference mode of the cpu", "device sim", "--device cpu"});
    fails({"verify", "--golden", (shared("golden") / "real").string(), "--dtype", "f64"},
          {"golden/real", "computed in float32", "--dtype f64"});
}

TEST_CASE("program: models that are not there") {
    fails({"inspect", "wisper-base"}, {"wisper-base", "did you mean whisper-base"});
    fails({"inspect", "7bb"}, {"7bb", "presets: 7b, ", "micro", "small-digits"});
    fails({"inspect", "smollm2"}, {"did you mean smollm2-135m-instruct-q4_1"});
    fails({"chat", "--model", "no/such/model.gguf", "--prompt", "hi"}, {"no/such/model.gguf", "no such file"});
    const TempFolder folder;
    const std::string wav = folder / "silence.wav";
    std::ofstream(wav, std::ios::binary) << std::string(
                                                "RIFF\x44\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0"
                                                "\2\0\x10\0data\x20\0\0\0",
                                                44)
                                         << std::string(32, '\0');
    fails({"transcribe", wav, "--model", "whisper-bse"}, {"whisper-bse", "did you mean whisper-base"});
    fails({"transcribe", wav, "--model", "whisper-base", "--head", "ctc"}, {"--head", "--adapter"});
    fails({"transcribe", wav, "--adapter", "no/such.safetensors"}, {"no/such.safetensors"});
    fails({"transcribe", wav, "--max-tokens", "0"}, {"--max-tokens 0"});
    fails({"train", "--preset", "small-digits", "--out", folder / "run", "--set", "data.train=no/such.tsv"},
          {"no/such.tsv", "data --help", "--set"});
    CHECK(!std::filesystem::exists(folder / "run"));
}

TEST_CASE("program: sound and manifests that cannot be used") {
    const TempFolder folder;
    const std::string text = folder.write("text.wav", "this is no sound\n");
    fails({"transcribe", text}, {"text.wav"});
    fails({"transcribe", "-"}, {"standard input"}, text);
    fails({"transcribe", folder.write("empty.flac", "")}, {"empty.flac"});
    fails({"transcribe", folder / "missing.wav"}, {"missing.wav"});
    fails({"transcribe", "--manifest", folder.write("empty.tsv", "")}, {"empty.tsv"});
    fails({"transcribe", "--manifest", folder.write("header.tsv", kHeader)}, {"header.tsv"});
    const std::string row = std::string(kHeader) + "clip7\tnowhere.wav\tWhat is said?\thello\n";
    fails({"transcribe", "--manifest", folder.write("row.tsv", row)}, {"clip7", "nowhere.wav", "row.tsv"});
    const std::string bad = std::string(kHeader) + "clip8\ttext.wav\tWhat is said?\thello\n";
    fails({"transcribe", "--manifest", folder.write("bad.tsv", bad)}, {"text.wav"});
}

TEST_CASE("program: checkpoints that are damaged") {
    const TempFolder folder;
    const std::string whole = small_gguf();
    const ProgramResult good = run_program({"inspect", folder.write("whole.gguf", whole), "--tensors"});
    CAPTURE(good.err);
    CHECK(good.code == 0);
    CHECK(good.out.find("a.weight") != std::string::npos);
    fails({"inspect", folder.write("empty.gguf", "")}, {"empty.gguf"});
    fails({"chat", "--prompt", "hi", "--model", folder / "empty.gguf"}, {"empty.gguf"});
    for (const size_t kept : {size_t{4}, size_t{20}, size_t{60}, whole.size() / 2, whole.size() - 1}) {
        CAPTURE(kept);
        const std::string cut = folder.write("cut.gguf", whole.substr(0, kept));
        fails({"inspect", cut}, {"cut.gguf"});
        fails({"chat", "--prompt", "hi", "--model", cut}, {"cut.gguf"});
    }
    fails({"inspect", folder.write("text.gguf", "hello\n")}, {"text.gguf"});
    fails({"inspect", folder.path().string()}, {folder.path().string()});
    fails({"chat", "--prompt", "hi", "--model", folder / "whole.gguf"}, {"whole.gguf"});
}

TEST_CASE("program: presets that are wrong") {
    const TempFolder folder;
    fails({"inspect", folder.write("key.json", R"({"lora": {"rnak": 8}})")}, {"key.json", "rnak", "rank"});
    fails({"inspect", folder.write("type.json", R"({"lora": {"rank": "eight"}})")}, {"rank"});
    fails({"inspect", folder.write("broken.json", R"({"lora": )")}, {"broken.json"});
}
