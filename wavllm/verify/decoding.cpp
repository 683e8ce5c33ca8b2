// Decoding after [left; speech; right] with a KV cache, in both stages, each sample alone and all in one batch: greedily,
// as released with BOS in place of right's first token, and by beam search.

#include <cmath>

#include "autograd/ops/rows.h"
#include "autograd/tape.h"
#include "data/tokenizer/sentencepiece.h"
#include "infer/generate.h"
#include "wavllm/verify/beams.h"
#include "wavllm/verify/golden_folder.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

namespace {

constexpr int32_t kBos = 1, kEos = 2;
constexpr int64_t kMostTokens = 32, kMostBeamTokens = 20;
constexpr int64_t kLogitStep = 125;

struct Stage {
    std::string name;
    Wavllm model;
};

using Samples = std::vector<const Sample*>;

struct Requests {
    Tensor x;
    SequencePlan plan;
};

/// begin: what stands in place of right's first token; -1: that token.
Requests requests_of(const Tiny& t, const Wavllm& model, const Samples& samples, int32_t begin = -1) {
    std::vector<PromptIds> prompts;
    std::vector<int64_t> rows, keys;
    std::vector<Tensor> speech;
    for (const Sample* s : samples) {
        prompts.push_back({s->ids.left, s->ids.right, {}, s->ids.instruction});
        if (begin >= 0) prompts.back().right.front() = begin;
        rows.push_back(s->speech_rows);
        keys.push_back(static_cast<int64_t>(s->row));
        const auto own = t.speech.find(s->name);
        speech.push_back(own != t.speech.end() ? own->second : t.given(s->file("audio"), "speech_embeddings"));
    }
    const SequencePlan plan = plan_sequences(prompts, rows, keys);
    return {splice_rows(model.llama().embed(plan.text_ids), concat_rows(speech), plan.plan), plan};
}

GenerateOptions options_of(const Wavllm& model, const SequencePlan& plan) {
    return {.max_new_tokens = kMostTokens,
            .eos = kEos,
            .lora = &model.lora(),
            .run = model.lora_run(plan),
            .log_probs = true};
}

void greedy(Tiny& t, const Stage& stage, const Tokenizer& tokenizer, const Samples& samples, const std::string& how) {
    const auto [x, plan] = requests_of(t, stage.model, samples);
    const auto generated = generate_greedy(stage.model.llama(), x, plan.borders, options_of(stage.model, plan));
    for (size_t i = 0; i < samples.size(); ++i) {
        const std::string prefix = fmt::format("decoding.{}.{}.", samples[i]->name, stage.name);
        t.c.computed("case.json", prefix + "greedy", ids_tensor(generated[i].tokens), how);
        t.c.computed("case.json", prefix + "text", text_tensor(tokenizer.decode(generated[i].tokens)), how);
        const auto& log_probs = generated[i].log_probs;
        t.c.computed(samples[i]->file("decode"), stage.name + ".greedy_log_probs",
                     Tensor::from(log_probs, {static_cast<int64_t>(log_probs.size())}).to(model_dtype()), how);
    }
}

void as_released(Tiny& t, const Stage& stage, const Samples& samples, const std::string& how) {
    const auto [x, plan] = requests_of(t, stage.model, samples, kBos);
    const auto generated = generate_greedy(stage.model.llama(), x, plan.borders, options_of(stage.model, plan));
    for (size_t i = 0; i < samples.size(); ++i)
        t.c.computed("case.json", fmt::format("decoding.{}.{}.greedy_released_bos", samples[i]->name, stage.name),
                     ids_tensor(generated[i].tokens), how);
}

/// What sampling draws from: log softmax(z / temperature) before the first token.
void first_distribution(Tiny& t, const Stage& stage, const Sample& sample) {
    const std::string file = sample.file("decode"), name = stage.name + ".first_log_probs";
    const auto [x, plan] = requests_of(t, stage.model, {&sample});
    LlamaPass pass;
    pass.borders = plan.borders;
    pass.positions = plan.positions;
    const Tensor h = stage.model.run(x, pass, stage.model.lora_run(plan));
    const Tensor z = stage.model.llama().logits(h.slice(0, h.dim(0) - 1, h.dim(0)).to_contiguous());
    for (const auto& [suffix, temperature] : {std::pair("_every_125th", 1.0), {"_temperature_0.5_every_125th", 0.5}}) {
        std::vector<double> all = z.values();
        double largest = -INFINITY, total = 0;
        for (double& v : all) largest = std::max(largest, v /= temperature);
        for (const double v : all) total += std::exp(v - largest);
        std::vector<double> log_probs;
        for (size_t i = 0; i < all.size(); i += kLogitStep) log_probs.push_back(all[i] - largest - std::log(total));
        t.c.computed(file, name + suffix,
                     Tensor::from(log_probs, {static_cast<int64_t>(log_probs.size())}).to(model_dtype()));
    }
}

void beams(Tiny& t, const Stage& stage, const Samples& samples, double penalty, const std::string& how) {
    const auto [x, plan] = requests_of(t, stage.model, samples);
    BeamTrace trace(samples.size());
    BeamOptions options;
    options.length_penalty = penalty;
    options.max_new_tokens = kMostBeamTokens;
    options.eos = kEos;
    options.lora = &stage.model.lora();
    options.run = stage.model.lora_run(plan);
    options.on_step = trace.watch();
    const auto found = beam_search(stage.model.llama(), x, plan.borders, options);
    for (size_t i = 0; i < samples.size(); ++i) {
        const std::string key = fmt::format("beam4_penalty{}", penalty);
        const std::string name = fmt::format("decoding.{}.{}.{}", samples[i]->name, stage.name, key);
        t.c.computed("case.json", name + ".hypotheses", hypotheses_tensor(found[i]), how);
        t.c.computed("case.json", name + ".steps", ids_tensor(std::vector{trace.steps(i, options.beams)}), how);
        t.c.computed("case.json", name + ".alive", trace.alive(i), how);
        t.c.computed("case.json", name + ".alive_log_probs", trace.log_probs(i), how);
        t.c.computed(samples[i]->file("decode"), stage.name + "." + key + "_scores", scores_tensor(found[i]), how);
    }
}

}  // namespace

void check_decoding(Tiny& t) {
    if (!t.c.wanted("decode_") && !t.c.wanted("case.json")) return;
    NoGrad no_grad;
    const Stage stages[] = {{"stage1", t.model.fresh(1)}, {"stage2", t.model.fresh(2)}};
    const auto tokenizer = open_sentencepiece(t.data / "tokenizer" / "llama2.tokenizer.model");
    Samples all, searched;
    for (const Sample& s : t.samples) {
        all.push_back(&s);
        if (t.c.has(s.file("decode"), "stage2.beam4_penalty1_scores")) searched.push_back(&s);
    }
    for (const Stage& stage : stages) {
        for (const Sample* s : all) {
            greedy(t, stage, *tokenizer, {s}, "alone");
            as_released(t, stage, {s}, "alone");
            first_distribution(t, stage, *s);
        }
        greedy(t, stage, *tokenizer, all, "in one batch");
        as_released(t, stage, all, "in one batch");
    }
    for (const double penalty : {0.0, 1.0, 2.0}) {
        for (const Sample* s : searched) beams(t, stages[1], {s}, penalty, "alone");
        beams(t, stages[1], searched, penalty, "in one batch");
    }
}

}  // namespace wavllm::verify
