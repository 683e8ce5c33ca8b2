// The released checkpoint's key map. Witness: the golden final.pt, which the released code wrote, and the paper's numbers
// of trained parameters.

#include "models/checkpoint/released.h"

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/tape.h"
#include "models/llama/llama.h"
#include "models/whisper/whisper.h"
#include "tests/program/program.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

int64_t parameters_of(const std::vector<ReleasedTensor>& tensors, const std::vector<std::string>& parts) {
    int64_t sum = 0;
    for (const ReleasedTensor& t : tensors) {
        if (std::find(parts.begin(), parts.end(), t.part) == parts.end()) continue;
        int64_t n = 1;
        for (const int64_t d : t.shape) n *= d;
        sum += n;
    }
    return sum;
}

/// The golden model under another set of names: all tensors of `from` but those that `change` renames to "".
template <class Change>
std::filesystem::path altered(const TempFolder& folder, const Checkpoint& from, Change&& change) {
    std::vector<TensorToStore> tensors;
    for (const StoredTensor& t : from.tensors()) {
        TensorToStore out{t.name, t.dtype, t.shape, t.bytes};
        change(out);
        if (!out.name.empty()) tensors.push_back(out);
    }
    write_safetensors(folder / "altered.safetensors", tensors);
    return folder / "altered.safetensors";
}

std::string file_of(const char* name) {
    return shared(std::string("golden/") + name).string();
}

}  // namespace

TEST_CASE("released checkpoint: no key is left over and none is missing, in all three files") {
    for (const char* name : {"final.pt", "final_f16.pt", "model.safetensors"}) {
        INFO(name);
        const auto checkpoint = open_checkpoint(file_of(name));
        REQUIRE(is_released(*checkpoint));
        const ReleasedReport report = check_released(*checkpoint);
        CHECK(report.whole());
        CHECK(report.missing.empty());
        CHECK(report.left_over.empty());
        CHECK(report.misshapen.empty());
        std::vector<std::string> unused = report.unused;
        std::sort(unused.begin(), unused.end());
        CHECK(unused == std::vector<std::string>{"audio_proj.bias", "audio_proj.weight",
                                                 "wavlm_encoder.model.masked_spec_embed"});
        int64_t tensors = 0, parameters = 0, all = 0;
        for (const ReleasedPart& p : report.parts) {
            tensors += p.tensors;
            parameters += p.parameters;
        }
        for (const StoredTensor& t : checkpoint->tensors()) {
            int64_t n = 1;
            for (const int64_t d : t.shape) n *= d;
            all += n;
        }
        CHECK(tensors == static_cast<int64_t>(checkpoint->tensors().size()));
        CHECK(parameters == all);
        CHECK(report.sizes.parametrized == (std::string(name) == "model.safetensors"));
    }
}

TEST_CASE("released checkpoint: the full size has the paper's numbers of trained parameters") {
    ReleasedSizes s;
    s.whisper_dim = 1280;
    s.whisper_layers = 32;
    s.whisper_ffn = 5120;
    s.mels = 80;
    s.positions = 1500;
    s.wavlm_dim = 768;
    s.wavlm_layers = 12;
    s.wavlm_ffn = 3072;
    s.wavlm_heads = 12;
    s.buckets = 320;
    s.convolutions = {{512, 10}, {512, 3}, {512, 3}, {512, 3}, {512, 3}, {512, 2}, {512, 2}};
    s.position_taps = 128;
    s.position_groups = 16;
    s.semantic = {1280, 1280, 1024, 512, 2048};
    s.acoustic = {768, 512, 1024, 512, 2048};
    s.dim = 4096;
    s.layers = 32;
    s.ffn = 11008;
    s.vocab = 32000;
    s.lora_rank = 32;
    s.prompt_bottleneck = 1024;
    s.audio_proj = true;
    const auto tensors = released_tensors(s);
    const std::vector<std::string> live{"semantic adapter", "acoustic adapter", "joint projection", "LoRA"};
    // "76.6 million" of the paper is reached with the projection that is not used
    std::vector<std::string> counted = live;
    counted.push_back("projection without WavLM");
    CHECK(parameters_of(tensors, counted) == 76'636'941);
    CHECK(parameters_of(tensors, {"prompt adapter"}) == 8'397'825);
    CHECK(parameters_of(tensors, {"LLaMA"}) == 6'738'415'616);  // LLaMA-2-7B
    CHECK(parameters_of(tensors, live) == 68'244'237);
}

TEST_CASE("released checkpoint: missing, left over and misshapen keys are named") {
    TempFolder folder;
    const auto golden = open_checkpoint(file_of("model.safetensors"));
    const std::string victim = "gpt_model.model_llama.layers.1.attention.wk_lora_B";
    const auto missing = check_released(*open_checkpoint(altered(folder, *golden, [&](TensorToStore& t) {
        if (t.name == victim) t.name = "";
    })));
    CHECK(missing.missing == std::vector<std::string>{victim});
    CHECK(missing.left_over.empty());
    const auto renamed = check_released(*open_checkpoint(altered(folder, *golden, [&](TensorToStore& t) {
        if (t.name == victim) t.name += "x";
    })));
    CHECK(renamed.missing == std::vector<std::string>{victim});
    CHECK(renamed.left_over == std::vector<std::string>{victim + "x"});
    const auto turned = check_released(*open_checkpoint(altered(folder, *golden, [&](TensorToStore& t) {
        if (t.name == victim) std::swap(t.shape[0], t.shape[1]);
    })));
    REQUIRE(turned.misshapen.size() == 1);
    CHECK(turned.misshapen[0] == victim + " is [24, 4], but the other sizes make it [4, 24]");
    CHECK(!turned.whole());
    // a stage-1 checkpoint has no prompt adapter
    const auto stage1 = check_released(*open_checkpoint(altered(folder, *golden, [&](TensorToStore& t) {
        if (t.name.find(".scale_") != std::string::npos) t.name = "";
    })));
    CHECK(stage1.whole());
    CHECK(stage1.sizes.prompt_bottleneck == 0);
}

TEST_CASE("released checkpoint: Whisper and LLaMA are the same bits from each of its files") {
    NoGrad no_grad;
    WhisperConfig whisper;
    whisper.dim = 64;
    whisper.encoder_layers = 2;
    whisper.heads = 4;
    whisper.encoder_ffn = 128;
    LlamaConfig llama;
    llama.dim = 24;
    llama.layers = llama.heads = llama.kv_heads = 3;
    llama.ffn = 64;
    llama.vocab = 32000;
    llama.norm_eps = 1e-6;
    const Tensor ids = Tensor::from(std::vector<int32_t>{1, 518, 25580, 29962}, {4});
    LlamaPass pass;
    pass.borders = Tensor::from(std::vector<int64_t>{0, 4}, {2});
    pass.positions = LlamaPass::positions_for(pass.borders);
    std::string fingerprint;
    std::vector<double> logits;
    for (const char* name : {"model.safetensors", "final.pt", "final_f16.pt"}) {
        INFO(name);
        const auto checkpoint = open_checkpoint(file_of(name));
        const Weights weights(*checkpoint);
        const auto encoder = WhisperEncoder::load(weights.under(kReleasedWhisper), whisper);
        const Llama model = Llama::load(weights.under(kReleasedLlama), llama);
        const Tensor h = model.forward(model.embed(ids), pass);
        const std::vector<double> values = model.logits(h).values();
        if (fingerprint.empty()) {
            fingerprint = encoder.fingerprint();
            logits = values;
        }
        CHECK(encoder.fingerprint() == fingerprint);
        CHECK(values == logits);
    }
}

TEST_CASE("program: inspect says what a released checkpoint is") {
    const ProgramResult r = run_program({"inspect", file_of("final.pt"), "--json"});
    REQUIRE(r.code == 0);
    const auto facts = nlohmann::json::parse(r.out);
    CHECK(facts.at("format") == "torch");
    CHECK(facts.at("released").at("whole") == true);
    CHECK(facts.at("released").at("unused").size() == 3);
    CHECK(facts.at("metadata").at("content.cfg.task.lora_r") == 32);
    const ProgramResult page = run_program({"inspect", file_of("final.pt")});
    CHECK(page.code == 0);
    CHECK(page.out.find("the released WavLLM: every key is there, none is left over") != std::string::npos);
    CHECK(page.out.find("unused: wavlm_encoder.model.masked_spec_embed") != std::string::npos);
    const ProgramResult foreign = run_program({"inspect", file_of("torch_variants_foreign.pt")});
    CHECK(foreign.out.find("foreign.argparse.Namespace = 1") != std::string::npos);
}
