// The prompt adapter: what it reads from the base model, its intermediates and r, each instruction alone and all in one
// batch.

#include "autograd/tape.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

namespace {

void run(Tiny& t, const Wavllm& model, const std::vector<const Sample*>& samples, const std::string& how) {
    std::vector<PromptIds> prompts;
    for (const Sample* s : samples) prompts.push_back(s->ids);
    const std::vector<int64_t> none(samples.size(), 0);
    const SequencePlan plan = plan_sequences(prompts, none, none);
    const Observer observer = [&](const std::string& name, const Tensor& value) {
        for (size_t i = 0; i < samples.size(); ++i) {
            const auto at = static_cast<int64_t>(i);
            const bool vector = name.starts_with("r");  // one row an instruction
            t.c.computed(samples[i]->file("prompt_adapter"), name,
                         vector ? value.select(0, at).to_contiguous() : rows_of(value, plan.instruction_of, at), how);
        }
    };
    model.lora_run(plan, &observer);
}

}  // namespace

void check_prompt_adapter(Tiny& t) {
    if (!t.c.wanted("prompt_adapter_")) return;
    NoGrad no_grad;
    const Wavllm model = t.model.fresh(2);
    std::vector<const Sample*> all;
    for (const Sample& s : t.samples) {
        run(t, model, {&s}, "alone");
        all.push_back(&s);
    }
    run(t, model, all, "all instructions in one batch");
}

}  // namespace wavllm::verify
