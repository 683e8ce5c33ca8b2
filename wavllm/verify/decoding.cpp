// Greedy decoding after [left; speech; right] with stage-1 LoRA, with a KV cache: alone and in a batch.

#include "autograd/ops/rows.h"
#include "autograd/tape.h"
#include "data/tokenizer/sentencepiece.h"
#include "infer/generate.h"
#include "wavllm/verify/golden_folder.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

namespace {

constexpr int32_t kEos = 2;
constexpr int64_t kMostTokens = 32;

void decode(Tiny& t, const Wavllm& model, const Tokenizer& tokenizer, const std::vector<const Sample*>& samples,
            const std::string& how) {
    std::vector<PromptIds> prompts;
    std::vector<int64_t> rows, keys;
    std::vector<Tensor> speech;
    for (const Sample* s : samples) {
        prompts.push_back({s->ids.left, s->ids.right, {}});
        rows.push_back(s->speech_rows);
        keys.push_back(static_cast<int64_t>(s->row));
        const auto own = t.speech.find(s->name);
        speech.push_back(own != t.speech.end() ? own->second : t.given(s->file("audio"), "speech_embeddings"));
    }
    const SequencePlan plan = plan_sequences(prompts, rows, keys);
    const Tensor x = splice_rows(model.llama().embed(plan.text_ids), concat_rows(speech), plan.plan);
    const LoraRun run = model.stage1_run();
    GenerateOptions options;
    options.max_new_tokens = kMostTokens;
    options.eos = kEos;
    options.lora = &model.lora();
    options.run = run;
    options.log_probs = true;
    const auto generated = generate_greedy(model.llama(), x, plan.borders, options);
    for (size_t i = 0; i < samples.size(); ++i) {
        const std::string prefix = fmt::format("decoding.{}.stage1.", samples[i]->name);
        t.c.computed("case.json", prefix + "greedy", ids_tensor(generated[i].tokens), how);
        t.c.computed("case.json", prefix + "text", text_tensor(tokenizer.decode(generated[i].tokens)), how);
        const auto& log_probs = generated[i].log_probs;
        t.c.computed(samples[i]->file("decode"), "stage1.greedy_log_probs",
                     Tensor::from(log_probs, {static_cast<int64_t>(log_probs.size())}), how);
    }
}

}  // namespace

void check_decoding(Tiny& t) {
    if (!t.c.wanted("decode_") && !t.c.wanted("case.json")) return;
    NoGrad no_grad;
    const Wavllm model = t.model.fresh();
    const auto tokenizer = open_sentencepiece(t.data / "tokenizer" / "llama2.tokenizer.model");
    std::vector<const Sample*> all;
    for (const Sample& s : t.samples) {
        decode(t, model, *tokenizer, {&s}, "alone");
        all.push_back(&s);
    }
    decode(t, model, *tokenizer, all, "in one batch");
}

}  // namespace wavllm::verify
