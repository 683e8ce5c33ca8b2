#include "models/wavllm/wavllm.h"

#include "autograd/ops/add.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/scale.h"
#include "autograd/tape.h"

namespace wavllm {

Wavllm::Wavllm(std::shared_ptr<const Llama> llama, SpeechBridge bridge, Lora lora, CtcHead ctc,
               PromptAdapter prompt_adapter)
    : llama_(std::move(llama)),
      bridge_(std::move(bridge)),
      lora_(std::move(lora)),
      ctc_(std::move(ctc)),
      prompt_adapter_(std::move(prompt_adapter)) {
    if (!prompt_adapter_.defined()) return;
    if (!lora_.defined()) throw UsageError("wavllm: a prompt adapter sets the strength of LoRA, but there is no LoRA");
    if (prompt_adapter_.config().dim != llama_->config().dim)
        throw ShapeError("wavllm: the prompt adapter is for an LLM of width {}, but this one has {}",
                         prompt_adapter_.config().dim, llama_->config().dim);
}

Tensor Wavllm::speech(const SpeechBatch& batch, Tensor& borders, const Observer* observer) const {
    const Device device = llama_->device();
    if (!batch.features.defined()) return Tensor::empty({0, llama_->config().dim}, DType::f32, device);
    borders = batch.feature_borders;
    const Tensor acoustic = batch.acoustic.defined() ? batch.acoustic.to(device) : Tensor();
    return bridge_.forward(batch.features.to(device), borders, acoustic, batch.acoustic_borders, observer,
                           batch.clip_borders);
}

LlmInput Wavllm::inputs(const SpeechBatch& batch, const Tensor& speech, const Observer* observer) const {
    int64_t planned = 0;
    for (const int64_t rows : batch.speech_rows) planned += rows;
    if (!batch.speech_rows.empty() && planned != speech.dim(0))
        throw ShapeError(
            "wavllm: the batch was laid out for {} rows of speech, but this model's connector gives {}; give its "
            "bridge to "
            "make_batch",
            planned, speech.dim(0));
    LlmInput in{{}, batch.plan, {}};
    Tensor rows = speech;
    if (ctc_.defined() && ctc_.config().changes_input() && speech.dim(0) > 0) {
        CtcHead::ForLlm read = ctc_.for_llm(speech, batch.speech_rows, *llama_);
        std::vector<PromptIds> prompts = batch.prompts;
        for (size_t i = 0; i < read.drafts.size(); ++i)
            prompts[i].right.insert(prompts[i].right.begin(), read.drafts[i].begin(), read.drafts[i].end());
        in.plan = plan_sequences(prompts, read.counts, batch.keys);
        in.kept = Tensor::from(read.rows, {static_cast<int64_t>(read.rows.size())});
        rows = gather_rows(speech, in.kept);
    }
    in.x = splice_rows(llama_->embed(in.plan.text_ids), rows, in.plan.plan);
    observe(observer, "inputs", in.x);
    return in;
}

LlmInput Wavllm::inputs(const SpeechBatch& batch, const Observer* observer) const {
    Tensor borders;
    return inputs(batch, speech(batch, borders, observer), observer);
}

LoraRun Wavllm::stage1_run() const {
    LoraRun run;
    run.scale.s = lora_.defined() ? lora_.stage1_scale() : 1.0f;
    return run;
}

LoraRun Wavllm::lora_run(const SequencePlan& plan, const Observer* observer) const {
    LoraRun run = stage1_run();
    if (!prompt_adapter_.defined()) return run;
    if (!plan.instructions.defined())
        throw ShapeError(
            "wavllm: this model has a prompt adapter, but the requests bring no instruction for it "
            "(prompt_adapter_ids)");
    Tensor t;
    {
        // all of it is frozen: nothing here is saved for a gradient
        const NoGrad no_grad;
        LlamaPass pass;
        pass.borders = plan.instruction_borders;
        pass.positions = plan.instruction_positions;
        t = gather_rows(llama_->forward(llama_->embed(plan.instructions), pass), plan.instruction_rows);
    }
    observe(observer, "t", t);
    // Request by request from here on, so that a batch cut in pieces gives the same gradients to the bit.
    run.scale.r = prompt_adapter_.forward(t, plan.instruction_of, observer);
    const LlamaConfig& c = llama_->config();
    if (c.heads != c.kv_heads) run.kv_r = shared_heads(run.scale.r, c.heads, c.kv_heads);
    return run;
}

Tensor Wavllm::run(const Tensor& x, LlamaPass pass, const LoraRun& run) const {
    pass.lora = lora_.defined() ? &lora_ : nullptr;
    pass.run = run;
    return llama_->forward(x, pass);
}

CrossEntropy Wavllm::cross_entropy_of(const SpeechBatch& batch, const Tensor& speech,
                                      const StepContext& context) const {
    const LlmInput in = inputs(batch, speech, context.observer);
    LoraRun lora_run = context.adaptive ? this->lora_run(in.plan, context.observer) : stage1_run();
    if (context.training && lora_.defined()) {
        lora_run.dropout = static_cast<float>(lora_.config().dropout);
        lora_run.seed = context.seed;
        lora_run.step = context.step;
        lora_run.row_keys = in.plan.row_keys;
    }
    LlamaPass pass;
    pass.borders = in.plan.borders;
    pass.positions = in.plan.positions;
    pass.checkpoint_activations = context.checkpoint_activations;
    pass.observer = context.observer;
    const Tensor h = run(in.x, pass, lora_run);
    const Tensor at_targets = llama_->final_norm(gather_rows(h, in.plan.target_rows));
    const double n = context.normalizer > 0 ? context.normalizer : static_cast<double>(batch.plan.targets.numel());
    return cross_entropy(at_targets, llama_->head(), batch.plan.targets, n);
}

WavllmLoss Wavllm::loss(const SpeechBatch& batch, const StepContext& context) const {
    WavllmLoss result;
    Tensor borders;
    const Tensor x = speech(batch, borders, context.observer);
    if (context.ce_weight > 0) {
        const CrossEntropy ce = cross_entropy_of(batch, x, context);
        result.ce = ce.loss;
        result.row_losses = ce.row_losses;
        result.loss = context.ce_weight == 1 ? ce.loss : scale(ce.loss, static_cast<float>(context.ce_weight));
    }
    if (context.ctc_weight > 0) {
        if (!batch.ctc.defined()) throw ShapeError("wavllm: a CTC loss is asked for, but the batch has no CTC targets");
        const double n =
            context.ctc_normalizer > 0 ? context.ctc_normalizer : static_cast<double>(batch.ctc.targets.numel());
        const CtcLoss ctc = ctc_.loss(x, batch.ctc, *llama_, n);
        result.ctc = ctc.loss;
        result.ctc_infeasible = ctc.infeasible;
        const Tensor weighted = scale(ctc.loss, static_cast<float>(context.ctc_weight));
        result.loss = result.loss.defined() ? result.loss + weighted : weighted;
    }
    return result;
}

Parameters Wavllm::parameters() const {
    Parameters all = bridge_.parameters();
    for (const Parameters& more : {lora_.parameters(), ctc_.parameters(), prompt_adapter_.parameters()})
        all.insert(all.end(), more.begin(), more.end());
    return all;
}

}  // namespace wavllm
