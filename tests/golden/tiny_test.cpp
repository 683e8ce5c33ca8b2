// Witness: the golden values of the tiny WavLLM, computed in float64 by the released code (shared/golden/README.md).

#include "models/checkpoint/checkpoint.h"
#include "tests/golden/support.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;
using verify::Status;

namespace {

/// All lines of one run; each test looks at its part.
const verify::Report& whole() {
    static const verify::Report report = verify_only(shared("golden"), "");
    return report;
}

verify::Report part(std::initializer_list<std::string_view> file_prefixes) {
    verify::Report r{{}, whole().broken};
    for (const verify::Line& l : whole().lines)
        for (std::string_view p : file_prefixes)
            if (l.file.starts_with(p)) r.lines.push_back(l);
    return r;
}

}  // namespace

TEST_CASE("golden: tables, prompts and texts") {
    check_passed(part({"tables"}), 1);  // WavLM's relative positions
    check_passed(part({"tokens.json"}), 0);
}

TEST_CASE("golden: Whisper with its decoder, as Hugging Face's") {
    check_passed(part({"hf_whisper"}), 0);
}

TEST_CASE("golden: log-mel, Whisper encoder, adapters, joint projection") {
    // WavLM's own layers; of the long clip also what only they lead to; and wavlm.conv1 under Whisper's name
    check_passed(part({"audio_a", "audio_b"}), 34);
    check_passed(part({"audio_long"}), 5);
}

TEST_CASE("golden: LLaMA of Hugging Face, tied and untied, and both namings") {
    check_passed(part({"hf_llama_"}), 0);
    check_passed(part({"llama_namings"}), 0);
}

TEST_CASE("golden: speech-text sequence, LLaMA with LoRA, prompt adapter") {
    check_passed(part({"llama_a.", "llama_b.", "llama_long."}), 0);
    check_passed(part({"llama_a_stage1", "llama_b_stage1", "llama_long_stage1"}), 0);
    check_passed(part({"prompt_adapter_"}), 0);
    check_passed(part({"llama_a_stage2", "llama_b_stage2", "llama_long_stage2"}), 0);
}

TEST_CASE("golden: gradients, a step of Adam, losses of five steps") {
    check_passed(part({"train_stage1"}), 0);
    check_passed(part({"train_stage2"}), 0);
    check_passed(part({"train_batch_stage2"}), 0);
}

TEST_CASE("golden: greedy decoding, as released, and beam search, alone and in a batch") {
    check_passed(part({"decode_"}), 0);
    check_passed(part({"case.json"}), 0);
}

TEST_CASE("golden: every tensor of every file has exactly one line, and only inputs have no verdict") {
    std::map<std::string, size_t> lines;
    for (const verify::Line& l : whole().lines) ++lines[l.file];
    size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(shared("golden"))) {
        const std::string name = entry.path().filename().string();
        if (entry.path().extension() != ".safetensors" || name == "model.safetensors" ||
            name.find("_weights") != std::string::npos || name == "torch_variants.safetensors")
            continue;
        CAPTURE(name);
        CHECK(lines[name] == open_checkpoint(entry.path())->tensors().size());
        ++files;
    }
    CHECK(files >= 26);
    CHECK(lines["torch_variants.safetensors"] == 19);
    CHECK(whole().count(Status::input) == 5);
}

TEST_CASE("golden: --dump writes what was computed, under the same names") {
    const TempFolder folder;
    verify::Options options = golden_options(shared("golden"), "hf_llama_tied");
    options.dump = folder / "dump";
    REQUIRE(verify::run(options).passed());
    const auto dumped = open_checkpoint(options.dump / "hf_llama_tied.safetensors");
    const auto golden = open_checkpoint(shared("golden/hf_llama_tied.safetensors"));
    CHECK(dumped->tensors().size() == 5);  // ids were not computed
    for (const StoredTensor& t : dumped->tensors()) CHECK(t.shape == golden->at(t.name).shape);
    CHECK(std::filesystem::exists(options.dump / "case.json.safetensors"));
}

TEST_CASE("golden: the CUDA bodies, on the emulator, pass all that the cpu passes") {
    const DeviceScope scope(Device::sim);
    const verify::Report on_sim = verify_only(shared("golden"), "");
    CHECK(on_sim.broken.empty());
    CHECK(on_sim.count(Status::failed) == 0);
    CHECK(on_sim.count(Status::passed) == whole().count(Status::passed));
}
