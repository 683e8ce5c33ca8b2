#include "infer/evaluate.h"

#include <unordered_map>

#include "autograd/tape.h"
#include "infer/beam_search.h"
#include "infer/english_normalizer.h"
#include "infer/generate.h"
#include "infer/joint_decode.h"
#include "models/ctc_head/ctc_path.h"

namespace wavllm {

namespace {

/// Calls f(part) for parts of at most `batch` examples.
template <class F>
void in_batches(std::span<const SpeechExample* const> examples, int64_t batch, F&& f) {
    const auto n = static_cast<size_t>(std::max<int64_t>(1, batch));
    for (size_t i = 0; i < examples.size(); i += n) f(examples.subspan(i, std::min(n, examples.size() - i)));
}

void expect_ctc_head(const Wavllm& model) {
    if (!model.ctc().defined())
        throw UsageError("ctc: this model has no CTC head; train it with a stage of ctc_weight > 0, or use the LLM");
}

/// How the head spells the LLM's tokens. Pieces make tokens and tokens make words by the same merges, so a token's
/// pieces do not depend on its neighbours.
Spelling spelling_of(const CtcHead& ctc, const Tokenizer& tokenizer) {
    std::unordered_map<int32_t, int32_t> columns;
    for (size_t i = 0; i < ctc.config().tokens.size(); ++i)
        columns.emplace(ctc.config().tokens[i], static_cast<int32_t>(i));
    return [&tokenizer, columns = std::move(columns), merges = ctc.config().merges](int32_t token, bool first) {
        std::vector<int32_t> spelt;
        if (tokenizer.is_special(token)) return spelt;
        std::string text = tokenizer.token_bytes(token);
        if (first && !text.starts_with(' ')) text.insert(0, " ");  // as SpeechExample::transcript
        if (merges > 0)
            spelt = tokenizer.encode_pieces(text, merges);
        else
            spelt = first ? tokenizer.encode(text) : std::vector{token};
        if (columns.empty()) return spelt;
        for (int32_t& id : spelt) {
            const auto found = columns.find(id);
            if (found == columns.end()) return std::vector<int32_t>{};
            id = found->second;
        }
        return spelt;
    };
}

}  // namespace

AnswerOptions answer_options(const Preset& preset) {
    const auto& d = preset.decode;
    return {.max_new_tokens = preset.data.max_new_tokens,
            .decoding = {{static_cast<float>(d.temperature), d.top_k, static_cast<float>(d.top_p),
                          static_cast<uint64_t>(d.seed)},
                         d.beams,
                         d.length_penalty,
                         d.begin_with_bos,
                         d.count_prompt,
                         d.lora_scale}};
}

namespace {

/// Copies whose right prompt begins with BOS instead of its own first token.
std::vector<SpeechExample> with_bos(std::span<const SpeechExample* const> examples, const Tokenizer& tokenizer) {
    if (!tokenizer.bos()) throw UsageError("decode.begin_with_bos: this tokenizer has no BOS");
    std::vector<SpeechExample> changed;
    for (const SpeechExample* e : examples) {
        changed.push_back(*e);
        if (!e->ids.right.empty()) changed.back().ids.right.front() = *tokenizer.bos();
    }
    return changed;
}

/// New tokens left for each example where those of the right prompt are counted, too.
std::vector<int64_t> limits_of(std::span<const SpeechExample* const> examples, int64_t most) {
    std::vector<int64_t> limits;
    for (const SpeechExample* e : examples)
        limits.push_back(std::max<int64_t>(0, most - std::max<int64_t>(0, std::ssize(e->ids.right) - 1)));
    return limits;
}

std::vector<std::vector<int32_t>> tokens_of(const Wavllm& model, const LlmInput& in, const Lora* lora, int32_t eos,
                                            const AnswerOptions& options, std::vector<int64_t> keys,
                                            std::vector<int64_t> limits) {
    const Decoding& d = options.decoding;
    std::vector<std::vector<int32_t>> tokens;
    if (d.beams > 1) {
        BeamOptions beam;
        beam.beams = d.beams;
        beam.length_penalty = d.length_penalty;
        beam.max_new_tokens = options.max_new_tokens;
        beam.eos = eos;
        beam.lora = lora;
        beam.run = model.lora_run(in.plan).times(d.lora_scale);
        for (auto& texts : beam_search(model.llama(), in.x, in.plan.borders, beam))
            tokens.push_back(std::move(texts.front().tokens));
        return tokens;
    }
    GenerateOptions generate_options{.max_new_tokens = options.max_new_tokens,
                                     .eos = eos,
                                     .lora = lora,
                                     .run = model.lora_run(in.plan).times(d.lora_scale),
                                     .sampling = d.sampling,
                                     .keys = std::move(keys),
                                     .limits = std::move(limits)};
    for (Generated& g : generate(model.llama(), in.x, in.plan.borders, generate_options))
        tokens.push_back(std::move(g.tokens));
    return tokens;
}

}  // namespace

std::vector<Answer> answer(const Wavllm& model, const Tokenizer& tokenizer,
                           std::span<const SpeechExample* const> examples, const AnswerOptions& options) {
    NoGrad no_grad;
    const Decoding& d = options.decoding;
    if (d.beams > 1 && (d.sampling.temperature > 0 || d.count_prompt))
        throw UsageError("answer: beam search neither draws tokens nor counts those of the prompt; use one beam");
    const Lora* lora = model.lora().defined() ? &model.lora() : nullptr;
    const std::vector<SpeechExample> changed =
        d.begin_with_bos ? with_bos(examples, tokenizer) : std::vector<SpeechExample>();
    std::vector<const SpeechExample*> asked(examples.begin(), examples.end());
    if (d.begin_with_bos) asked = pointers_to(changed);
    std::vector<Answer> answers;
    in_batches(asked, options.batch, [&](std::span<const SpeechExample* const> part) {
        const SpeechBatch batch = make_batch(part, false, model.bridge());
        const auto limits = d.count_prompt ? limits_of(part, options.max_new_tokens) : std::vector<int64_t>();
        const auto generated =
            tokens_of(model, model.inputs(batch), lora, tokenizer.eos().value_or(-1), options, batch.keys, limits);
        for (size_t i = 0; i < part.size(); ++i)
            answers.push_back({part[i]->id, part[i]->reference, tokenizer.decode(generated[i]), generated[i]});
        if (options.progress) options.progress(answers.size(), examples.size());
    });
    return answers;
}

std::vector<Answer> answer_by_ctc(const Wavllm& model, const Tokenizer& tokenizer,
                                  std::span<const SpeechExample* const> examples, int64_t batch) {
    expect_ctc_head(model);
    NoGrad no_grad;
    std::vector<Answer> answers;
    in_batches(examples, batch, [&](std::span<const SpeechExample* const> part) {
        Tensor borders;
        const Tensor speech = model.speech(make_batch(part, false, model.bridge()), borders);
        const CtcHead::Said said = model.ctc().best_path(speech, model.llama());
        std::span<const int32_t> path = said.tokens;
        for (const SpeechExample* e : part) {
            const auto rows = static_cast<size_t>(e->speech_rows(model.bridge()));
            CtcPath found = ctc_collapse(path.first(rows), CtcHead::kBlank);
            path = path.subspan(rows);
            std::string text = tokenizer.decode(found.tokens);
            if (text.starts_with(' ')) text.erase(0, 1);  // SpeechExample::transcript begins with one
            answers.push_back({e->id, e->reference, std::move(text), found.tokens, found.rows});
        }
    });
    return answers;
}

std::vector<Answer> answer_jointly(const Wavllm& model, const Tokenizer& tokenizer,
                                   std::span<const SpeechExample* const> examples, const AnswerOptions& options) {
    expect_ctc_head(model);
    NoGrad no_grad;
    JointOptions joint;
    joint.ctc_weight = options.ctc_weight;
    joint.beams = options.beams;
    joint.max_new_tokens = options.max_new_tokens;
    joint.eos = tokenizer.eos().value_or(-1);
    joint.lora = model.lora().defined() ? &model.lora() : nullptr;
    const Spelling spelling = spelling_of(model.ctc(), tokenizer);
    std::vector<Answer> answers;
    for (const SpeechExample* e : examples) {
        const SpeechBatch batch = make_batch(std::span(&e, 1), false, model.bridge());
        Tensor borders;
        const Tensor speech = model.speech(batch, borders);
        const CtcPrefix ctc(model.ctc().log_probs(speech, model.llama()));
        const LlmInput in = model.inputs(batch, speech);
        joint.run = model.lora_run(in.plan).times(options.decoding.lora_scale);
        const auto tokens = decode_jointly(model.llama(), in.x, ctc, spelling, joint);
        answers.push_back({e->id, e->reference, tokenizer.decode(tokens), tokens});
        if (options.progress) options.progress(answers.size(), examples.size());
    }
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

Evaluation evaluate_jointly(const Wavllm& model, const Tokenizer& tokenizer,
                            std::span<const SpeechExample* const> examples, const AnswerOptions& options) {
    return score(answer_jointly(model, tokenizer, examples, options));
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
        for (double l : model.loss(make_batch(part, true, model.bridge()), {}).row_losses.values()) {
            sum += l;
            ++tokens;
        }
    });
    return tokens > 0 ? sum / static_cast<double>(tokens) : 0;
}

}  // namespace wavllm
