#include "models/wavllm/wavllm.h"

#include "autograd/ops/rows.h"

namespace wavllm {

Tensor Wavllm::inputs(const SpeechBatch& batch, const Observer* observer) const {
    const Tensor text = llama_->embed(batch.plan.text_ids);
    Tensor speech;
    if (batch.features.defined()) {
        Tensor borders = batch.feature_borders;
        speech = bridge_.forward(batch.features, borders, batch.acoustic, batch.acoustic_borders, observer);
    } else {
        speech = Tensor::empty({0, llama_->config().dim});
    }
    const Tensor x = splice_rows(text, speech, batch.plan.plan);
    observe(observer, "inputs", x);
    return x;
}

LoraRun Wavllm::stage1_run() const {
    LoraRun run;
    run.scale.s = lora_.defined() ? lora_.stage1_scale() : 1.0f;
    return run;
}

Tensor Wavllm::run(const Tensor& x, LlamaPass pass, const LoraRun& run) const {
    pass.lora = lora_.defined() ? &lora_ : nullptr;
    pass.run = run;
    return llama_->forward(x, pass);
}

CrossEntropy Wavllm::loss(const SpeechBatch& batch, const StepContext& context) const {
    LoraRun lora_run = stage1_run();
    if (context.training && lora_.defined()) {
        lora_run.dropout = static_cast<float>(lora_.config().dropout);
        lora_run.seed = context.seed;
        lora_run.step = context.step;
        lora_run.row_keys = batch.plan.row_keys;
    }
    LlamaPass pass;
    pass.borders = batch.plan.borders;
    pass.positions = batch.plan.positions;
    pass.checkpoint_activations = context.checkpoint_activations;
    pass.observer = context.observer;
    const Tensor h = run(inputs(batch, context.observer), pass, lora_run);
    const Tensor at_targets = llama_->final_norm(gather_rows(h, batch.plan.target_rows));
    const double n = context.normalizer > 0 ? context.normalizer : static_cast<double>(batch.plan.targets.numel());
    return cross_entropy(at_targets, llama_->head(), batch.plan.targets, n);
}

Parameters Wavllm::parameters() const {
    Parameters all = bridge_.parameters();
    for (Parameter& p : lora_.parameters()) all.push_back(std::move(p));
    return all;
}

}  // namespace wavllm
