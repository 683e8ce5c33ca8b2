#include "infer/conversation.h"

#include "autograd/ops/rows.h"
#include "autograd/tape.h"
#include "infer/generate.h"
#include "kernels/common/check.h"

namespace wavllm {

SpeechConversation::SpeechConversation(const Wavllm& model, const Tokenizer& tokenizer, int64_t context)
    : model_(model),
      tokenizer_(tokenizer),
      cache_(model.llama().config(), 1, std::min(context, model.llama().config().max_positions),
             model.llama().device()) {}

Answer SpeechConversation::say(const SpeechExample& turn, const AnswerOptions& options,
                               const std::function<void(int32_t)>& on_token) {
    if (options.decoding.beams > 1) throw UsageError("conversation: beam search is for single questions; use one beam");
    NoGrad no_grad;
    const Decoding& d = options.decoding;
    SpeechExample asked = turn;
    if (d.begin_with_bos && !asked.ids.right.empty()) {
        if (!tokenizer_.bos()) throw UsageError("decode.begin_with_bos: this tokenizer has no BOS");
        asked.ids.right.front() = *tokenizer_.bos();
    }
    const int64_t counted = d.count_prompt ? std::max<int64_t>(0, std::ssize(turn.ids.right) - 1) : 0,
                  new_tokens = options.max_new_tokens - counted;
    if (new_tokens < 1)
        throw UsageError(
            "conversation: decode.count_prompt counts the {} tokens of this message, and {} are allowed in all; allow "
            "more (--max-tokens), or say it in fewer words",
            counted, options.max_new_tokens);
    const SpeechExample* one[] = {&asked};
    const SpeechBatch batch = make_batch(one, false, model_.bridge());
    const LlmInput in = model_.inputs(batch);
    Tensor x = in.x;
    if (!pending_.empty())
        x = concat_rows({model_.llama().embed(Tensor::from(pending_, {std::ssize(pending_)})), in.x});
    if (held() + x.dim(0) + new_tokens > cache_.capacity())
        throw UsageError(
            "conversation: it holds {} rows, the next turn has {} and may be answered by {} tokens, but the context is "
            "{}; begin a new one, allow fewer new tokens (--max-tokens) or a longer context (--context, at most the "
            "model's {} positions)",
            held(), x.dim(0), new_tokens, cache_.capacity(), model_.llama().config().max_positions);
    const int32_t eos = tokenizer_.eos().value_or(-1);
    const GenerateOptions generate_options{.max_new_tokens = new_tokens,
                                           .eos = eos,
                                           .lora = model_.lora().defined() ? &model_.lora() : nullptr,
                                           .run = model_.lora_run(in.plan).times(options.decoding.lora_scale),
                                           .sampling = options.decoding.sampling,
                                           .keys = {turn.key},
                                           .on_token = [&](size_t, int32_t token) {
                                               if (on_token) on_token(token);
                                               return true;
                                           }};
    const int64_t rows[] = {x.dim(0)};
    std::vector<int32_t> tokens =
        std::move(generate(model_.llama(), x, kernels::make_borders(rows), cache_, generate_options)[0].tokens);
    ++turns_;
    pending_ = {tokens.back()};
    if (eos >= 0 && pending_[0] != eos) pending_.push_back(eos);  // it was cut
    return {turn.id, turn.reference, tokenizer_.decode(tokens), tokens};
}

}  // namespace wavllm
