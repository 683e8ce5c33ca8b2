#include "infer/evaluate.h"

#include "autograd/tape.h"
#include "infer/ctc_greedy.h"
#include "infer/english_normalizer.h"
#include "infer/generate.h"

namespace wavllm {

namespace {

/// Calls f(part) for parts of at most `batch` examples.
template <class F>
void in_batches(std::span<const SpeechExample* const> examples, int64_t batch, F&& f) {
    const auto n = static_cast<size_t>(std::max<int64_t>(1, batch));
    for (size_t i = 0; i < examples.size(); i += n) f(examples.subspan(i, std::min(n, examples.size() - i)));
}

}  // namespace

std::vector<Answer> answer(const Wavllm& model, const Tokenizer& tokenizer,
                           std::span<const SpeechExample* const> examples, const AnswerOptions& options) {
    NoGrad no_grad;
    GenerateOptions generate;
    generate.max_new_tokens = options.max_new_tokens;
    generate.eos = tokenizer.eos().value_or(-1);
    generate.lora = model.lora().defined() ? &model.lora() : nullptr;
    generate.run = model.stage1_run();
    std::vector<Answer> answers;
    in_batches(examples, options.batch, [&](std::span<const SpeechExample* const> part) {
        const LlmInput in = model.inputs(make_batch(part, false));
        const auto generated = generate_greedy(model.llama(), in.x, in.plan.borders, generate);
        for (size_t i = 0; i < part.size(); ++i)
            answers.push_back(
                {part[i]->id, part[i]->reference, tokenizer.decode(generated[i].tokens), generated[i].tokens});
        if (options.progress) options.progress(answers.size(), examples.size());
    });
    return answers;
}

std::vector<Answer> answer_by_ctc(const Wavllm& model, const Tokenizer& tokenizer,
                                  std::span<const SpeechExample* const> examples, int64_t batch) {
    if (!model.ctc().defined())
        throw UsageError("ctc: this model has no CTC head; train it with a stage of ctc_weight > 0, or use the LLM");
    NoGrad no_grad;
    std::vector<Answer> answers;
    in_batches(examples, batch, [&](std::span<const SpeechExample* const> part) {
        Tensor borders;
        const Tensor speech = model.speech(make_batch(part, false), borders);
        const std::vector<int32_t> best = model.ctc().best_path(speech, model.llama());
        std::span<const int32_t> path = best;
        for (const SpeechExample* e : part) {
            size_t rows = 0;
            for (int64_t n : e->chunk_rows) rows += static_cast<size_t>(SpeechAdapter::frames(n));
            CtcPath found = ctc_collapse(path.first(rows), CtcHead::kBlank);
            path = path.subspan(rows);
            answers.push_back({e->id, e->reference, tokenizer.decode(found.tokens), found.tokens, found.rows});
        }
    });
    return answers;
}

namespace {

Evaluation score(std::vector<Answer> answers) {
    Evaluation e;
    e.answers = std::move(answers);
    for (const Answer& a : e.answers) {
        e.rates.add(a.reference, a.text);
        e.exact += normalize_english(a.reference) == normalize_english(a.text);
    }
    return e;
}

}  // namespace

Evaluation evaluate(const Wavllm& model, const Tokenizer& tokenizer, std::span<const SpeechExample* const> examples,
                    const AnswerOptions& options) {
    return score(answer(model, tokenizer, examples, options));
}

Evaluation evaluate_by_ctc(const Wavllm& model, const Tokenizer& tokenizer,
                           std::span<const SpeechExample* const> examples) {
    return score(answer_by_ctc(model, tokenizer, examples));
}

double mean_loss(const Wavllm& model, std::span<const SpeechExample* const> examples, int64_t batch) {
    NoGrad no_grad;
    double sum = 0;
    int64_t tokens = 0;
    in_batches(examples, batch, [&](std::span<const SpeechExample* const> part) {
        for (double l : model.loss(make_batch(part, true), {}).row_losses.values()) {
            sum += l;
            ++tokens;
        }
    });
    return tokens > 0 ? sum / static_cast<double>(tokens) : 0;
}

}  // namespace wavllm
