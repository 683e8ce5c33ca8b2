// The speech-text sequence and LLaMA with LoRA, in the first stage with r = 1, in the second with that of the prompt
// adapter: layers, keys, values, logits, log-probabilities, losses.

#include "autograd/ops/rows.h"
#include "autograd/ops/scale.h"
#include "autograd/tape.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

namespace {

constexpr int64_t kLogitStep = 125;

struct Batch {
    std::vector<const Sample*> samples;
    SequencePlan plan;
};

struct Stage {
    std::string suffix;  // of the files
    Wavllm model;
};

Batch batch_of(std::vector<const Sample*> samples) {
    std::vector<PromptIds> ids;
    std::vector<int64_t> rows, keys;
    for (const Sample* s : samples) {
        ids.push_back(s->ids);
        rows.push_back(s->speech_rows);
        keys.push_back(static_cast<int64_t>(s->row));
    }
    return {std::move(samples), plan_sequences(ids, rows, keys)};
}

Tensor inputs_of(const Tiny& t, const Batch& b, const Tensor& speech) {
    return splice_rows(t.model.llama()->embed(b.plan.text_ids), speech, b.plan.plan);
}

/// Sample i's part of what is computed from h, the rows after all blocks.
void add_results(Tiny& t, const Stage& stage, const Batch& b, int64_t i, const Tensor& h, const std::string& how) {
    const std::string file = b.samples[static_cast<size_t>(i)]->file("llama", stage.suffix);
    const Llama& llama = *t.model.llama();
    const auto add = [&](const char* name, const Tensor& value) { t.c.computed(file, name, value, how); };
    add("final_norm", llama.final_norm(rows_of(h, b.plan.borders, i)));
    const Tensor at_targets = gather_rows(h, rows_of(b.plan.target_rows, b.plan.target_borders, i));
    const Tensor logits = llama.logits(at_targets);
    add("target_logits_every_125th", every_nth(logits, kLogitStep));
    add("logits_first_target", logits.select(0, 0));
    add("logits_last_target", logits.select(0, logits.dim(0) - 1));
    if (t.c.has(file, "logits_every_125th"))
        add("logits_every_125th", every_nth(llama.logits(rows_of(h, b.plan.borders, i)), kLogitStep));

    const Tensor targets = rows_of(b.plan.targets, b.plan.target_borders, i);
    const Tensor x = llama.final_norm(at_targets);
    const CrossEntropy sum = cross_entropy(x, llama.head(), targets, 1);
    add("target_log_probs", scale(sum.row_losses, -1));
    add("loss_sum", sum.loss.reshape({}));
    add("loss_mean", cross_entropy(x, llama.head(), targets, static_cast<double>(targets.numel())).loss.reshape({}));
}

void run(Tiny& t, const Stage& stage, const Batch& b, const Tensor& x, const std::string& how) {
    const Observer observer = [&](const std::string& name, const Tensor& value) {
        for (size_t i = 0; i < b.samples.size(); ++i)
            t.c.computed(b.samples[i]->file("llama", stage.suffix), name,
                         rows_of(value, b.plan.borders, static_cast<int64_t>(i)), how);
    };
    LlamaPass pass;
    pass.borders = b.plan.borders;
    pass.positions = b.plan.positions;
    pass.observer = &observer;
    const Tensor h = stage.model.run(x, pass, stage.model.lora_run(b.plan));
    for (size_t i = 0; i < b.samples.size(); ++i) add_results(t, stage, b, static_cast<int64_t>(i), h, how);
}

}  // namespace

void check_stages(Tiny& t) {
    if (!t.wants_sequences()) return;
    NoGrad no_grad;
    const Stage stages[] = {{"_stage1", t.model.fresh(1)}, {"_stage2", t.model.fresh(2)}};
    std::vector<const Sample*> all;
    std::vector<Tensor> speech;
    for (const Sample& s : t.samples) {
        const Batch alone = batch_of({&s});
        t.c.computed(s.file("llama"), "inputs", inputs_of(t, alone, t.given(s.file("audio"), "speech_embeddings")),
                     "stored speech embeddings");
        const auto own = t.speech.find(s.name);
        for (const Stage& stage : stages)
            if (t.own_alone(s) && own != t.speech.end())
                run(t, stage, alone, inputs_of(t, alone, own->second), "our speech embeddings, alone");
            else
                run(t, stage, alone, t.given(s.file("llama"), "inputs"), "stored inputs");
        if (own != t.speech.end()) {
            all.push_back(&s);
            speech.push_back(own->second);
        }
    }
    if (all.empty()) return;
    const Batch batch = batch_of(all);
    const Tensor x = inputs_of(t, batch, concat_rows(speech));
    for (size_t i = 0; i < all.size(); ++i)
        t.c.computed(all[i]->file("llama"), "inputs", rows_of(x, batch.plan.borders, static_cast<int64_t>(i)),
                     "our speech embeddings");
    for (const Stage& stage : stages) run(t, stage, batch, x, "our speech embeddings, all samples in one batch");
}

}  // namespace wavllm::verify
