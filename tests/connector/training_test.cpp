// The comparison systems as a whole: trained by the trainer, saved, read back, asked. Witnesses: the same computation done
// another way (other batches, another strength of LoRA), and the answers that the clips were made with.

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/rows.h"
#include "autograd/tape.h"
#include "infer/evaluate.h"
#include "infer/generate.h"
#include "models/wavllm/system.h"
#include "tests/support/connector_model.h"
#include "tests/support/stage2_model.h"
#include "tests/support/temp_folder.h"
#include "tests/wavllm/tiny_system.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

const std::vector<std::string> kKinds = {"qformer", "pooled"};

std::vector<std::string> gradients(const Wavllm& model, std::span<const SpeechExample* const> clips, size_t each) {
    for (const Parameter& p : model.parameters()) zero_grad(p.tensor);
    double tokens = 0;
    for (const SpeechExample* e : clips) tokens += static_cast<double>(e->ids.target.size());
    for (size_t i = 0; i < clips.size(); i += each)
        backward(model
                     .loss(make_batch(clips.subspan(i, std::min(each, clips.size() - i)), true, model.bridge()),
                           {.seed = 3, .step = 4, .training = true, .normalizer = tokens})
                     .loss);
    std::vector<std::string> result;
    for (const Parameter& p : model.parameters()) result.push_back(bytes_of(grad(p.tensor)));
    return result;
}

/// Tokens that the model answers all clips with.
std::vector<std::vector<int32_t>> answers(const Wavllm& model, std::span<const SpeechExample* const> clips,
                                          double lora_scale, int64_t batch = 16) {
    AnswerOptions options{.max_new_tokens = 6, .batch = batch};
    options.decoding.lora_scale = lora_scale;
    std::vector<std::vector<int32_t>> tokens;
    for (const Answer& a : answer(model, NumberTokenizer(), clips, options)) tokens.push_back(a.tokens);
    return tokens;
}

}  // namespace

TEST_CASE("connectors in a model: learned by the trainer, saved and read back like an adapter") {
    for (const std::string& kind : kKinds) {
        CAPTURE(kind);
        const TempFolder temp;
        const auto examples = tiny_examples(16);
        Wavllm model = connector_model(kind);
        const Preset preset = tiny_preset(100);
        const std::vector<ExampleSet> train{{"all", examples}},
            valid{{"valid", {examples.begin(), examples.begin() + 4}}};
        const NumberTokenizer tokenizer;
        RunFolder run = RunFolder::create(temp / "run", preset);
        double first = 0, last = 0;
        Trainer::Callbacks callbacks;
        callbacks.step = [&](int64_t step, const Stage&, const StepResult& r, double) {
            (step == 0 ? first : last) = r.loss;
        };
        CHECK(Trainer(model, tokenizer, train, valid, run, callbacks).run().steps_done == 100);
        CHECK(last < 0.5 * first);
        Wavllm again = connector_model(kind, 6);
        Parameters parameters = again.parameters();
        load_adapter(run.adapter_file(), parameters);
        const auto all = pointers(examples);
        CHECK(answers(again, all, 1) == answers(model, all, 1));
        Parameters other = connector_model(kind == "pooled" ? "qformer" : "pooled").parameters();
        CHECK_THROWS_AS(load_adapter(run.adapter_file(), other), FileError);
    }
}

TEST_CASE("connectors in a model: losses, gradients and answers do not depend on the batch") {
    for (const std::string& kind : kKinds) {
        CAPTURE(kind);
        const Wavllm model = connector_model(kind);
        disturb(model.lora().parameters(), 0.1f);
        const auto examples = tiny_examples(5);
        const auto all = pointers(examples);
        const auto whole = gradients(model, all, 5);
        CHECK(gradients(model, all, 1) == whole);
        CHECK(gradients(model, all, 2) == whole);
        CHECK(answers(model, all, 1, 1) == answers(model, all, 1, 5));
        const Tensor together = model.loss(make_batch(all, true, model.bridge()), {}).row_losses;
        const Tensor alone = model.loss(make_batch(std::span(all).subspan(1, 1), true, model.bridge()), {}).row_losses;
        const auto n = static_cast<int64_t>(examples[0].ids.target.size());
        CHECK(bytes_of(together.slice(0, n, n + alone.numel())) == bytes_of(alone));
        clear_tape();
    }
}

TEST_CASE("a batch that was laid out for another connector is an error") {
    const auto examples = tiny_examples(2);
    CHECK_THROWS_WITH_AS(connector_model("qformer").inputs(make_batch(pointers(examples), true)),
                         doctest::Contains("give its bridge to make_batch"), ShapeError);
    clear_tape();
}

TEST_CASE("activation tuning: LoRA's strength at inference") {
    for (const int64_t prompt_adapter : {0, 8}) {
        CAPTURE(prompt_adapter);
        const Wavllm model = stage2_model(prompt_adapter);
        disturb(model.lora().parameters(), 0.3f);
        if (prompt_adapter) disturb(model.prompt_adapter().parameters(), 0.1f);
        const auto examples = stage2_examples(6);
        const auto all = pointers(examples);
        // 0: the LLM without LoRA
        const Wavllm bare(model.shared_llama(), model.bridge(), Lora());
        CHECK(answers(model, all, 0) == answers(bare, all, 1));
        CHECK(answers(model, all, 1) != answers(bare, all, 1));
        // half the strength is half of every B
        const auto half = answers(model, all, 0.5);
        for (const Parameter& p : model.lora().parameters()) {
            Tensor t = p.tensor;
            if (p.name.ends_with("B"))
                for (int64_t i = 0; i < t.numel(); ++i) t.mutable_data<float>()[i] *= 0.5f;
        }
        CHECK(half == answers(model, all, 1));
    }
}

TEST_CASE("the comparison systems are presets of the same program") {
    const std::filesystem::path presets = std::filesystem::path(WAVLLM_SOURCE_DIR) / "presets";
    const std::vector<std::string> micro{"connector.dim=24", "connector.heads=3", "connector.ffn=32",
                                         "connector.window=5"};
    const std::vector<std::string> none;
    LlamaConfig config = tiny_llama_config();
    config.vocab = 256;  // bytes
    const auto llama = std::make_shared<const Llama>(random_llama(config, 3));
    const System tiny = tiny_system();
    const auto names_of = [&](const char* file, const std::vector<std::string>& set) {
        const Preset p = load_preset(presets / file, set);
        const System s = build_system(p, tiny.encoder, llama, tiny.tokenizer);
        std::string names;
        for (const Parameter& q : s.model->parameters()) names += q.name + "\n";
        const std::vector<float> tone(16000, 0.1f);
        const SpeechExample e = make_example(s, "x", tone, "What?", "That.");
        const SpeechExample* one[] = {&e};
        CHECK(std::isfinite(s.model->loss(make_batch(one, true, s.model->bridge()), {}).loss.item()));
        clear_tape();
        return names;
    };
    const std::string salmonn = names_of("salmonn-small.json", micro), qwen = names_of("qwen-audio-small.json", none);
    CHECK(salmonn.find("speech_Qformer.bert.encoder.layer.1.crossattention.self.value.weight") != std::string::npos);
    CHECK(salmonn.find("subsample") == std::string::npos);
    CHECK(salmonn.find("wq_lora_A") != std::string::npos);
    CHECK(salmonn.find("wk_lora_A") == std::string::npos);
    CHECK(qwen.find("ln_post.weight\nln_post.bias\nproj.weight\nproj.bias\n") == 0);
    CHECK(load_preset(presets / "salmonn-small.json").connector.window == 17);
    CHECK(load_preset(presets / "small.json").connector.kind == "wavllm");

    const auto refuses = [&](std::vector<std::string> set, const char* says) {
        CHECK_THROWS_WITH_AS(load_preset(presets / "salmonn-small.json", set), doctest::Contains(says), UsageError);
    };
    refuses({"connector.kind=q-former"}, "wavllm, qformer, pooled");
    refuses({"connector.heads=7"}, "does not divide connector.dim=768");
    refuses({"connector.kind=pooled", "model.wavlm=folder"}, "hears Whisper alone");
    refuses({"connector.window=0"}, "connector.window must be at least 1");
    refuses({"stages.pretrain.ctc_weight=1"}, "connector.kind=wavllm");
    refuses({"decode.lora_scale=-1"}, "lora_scale");
}
