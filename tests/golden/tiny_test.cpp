// Witness: the golden values of the tiny WavLLM, computed in float64 by the released code (shared/golden/README.md).

#include "models/weights.h"
#include "tensor/model_dtype.h"
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
    check_passed(part({"tables"}), 0);
    check_passed(part({"tokens.json"}), 0);
}

TEST_CASE("golden: Whisper with its decoder, as Hugging Face's") {
    check_passed(part({"hf_whisper"}), 0);
}

TEST_CASE("golden: WavLM, as Hugging Face's, from both namings of its weight norm") {
    check_passed(part({"hf_wavlm"}), 0);
}

TEST_CASE("golden: log-mel, both encoders, adapters, joint projection") {
    check_passed(part({"audio_a", "audio_b"}), 0);
    check_passed(part({"audio_long"}), 0);
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
    CHECK(whole().count(Status::input) == 6);
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

TEST_CASE("golden: in double, all that float32 passes is right to float32's last digit") {
    verify::Options options = golden_options(shared("golden"));
    options.dtype = DType::f64;
    const verify::Report in_f64 = verify::run(options);
    CHECK(model_dtype() == DType::f32);
    for (const verify::Line& l : in_f64.lines) {
        const std::string text = verify::text_of(l);
        CHECK_MESSAGE(l.status != Status::failed, text);
        CHECK_MESSAGE(l.tolerance <= 0x1p-23, text);
    }
    CHECK(in_f64.broken.empty());
    CHECK(in_f64.count(Status::passed) == whole().count(Status::passed));
}

TEST_CASE("golden: frozen weights in bf16 are refused in the reference mode, by name") {
    const DTypeScope scope(DType::f64);
    const auto checkpoint = open_checkpoint(shared("golden/llama_meta_naming_weights.safetensors"));
    const std::string message =
        message_of<DTypeError>([&] { Weights(*checkpoint).packed("output.weight", 8, 8, DType::bf16); });
    CHECK(message.find("\"output.weight\" was asked for in bf16, but in the reference mode all is f64") !=
          std::string::npos);
}

TEST_CASE("golden: the CUDA bodies, on the emulator, pass all that the cpu passes") {
    const DeviceScope scope(Device::sim);
    const verify::Report on_sim = verify_only(shared("golden"), "");
    CHECK(on_sim.broken.empty());
    CHECK(on_sim.count(Status::failed) == 0);
    CHECK(on_sim.count(Status::passed) == whole().count(Status::passed));
}
