// Drawing tokens, beams and limits. Witnesses: the distribution that is drawn from, greedy decoding, and the same request
// alone. Hugging Face's beams are held by tests/golden.

#include "infer/generate.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/tape.h"
#include "infer/beam_search.h"
#include "infer/evaluate.h"
#include "tests/support/stage2_model.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

using Texts = std::vector<std::vector<int32_t>>;

Texts texts_of(const std::vector<Generated>& generated) {
    Texts texts;
    for (const Generated& g : generated) texts.push_back(g.tokens);
    return texts;
}

Texts answers_of(const Wavllm& model, std::span<const SpeechExample* const> examples, const AnswerOptions& options) {
    Texts texts;
    for (const Answer& a : answer(model, NumberTokenizer(), examples, options)) texts.push_back(a.tokens);
    return texts;
}

}  // namespace

TEST_CASE("drawn answers: the same in every batch, by their seed, and greedy at temperature 0") {
    const Wavllm model = stage2_model(8);
    const auto examples = stage2_examples(9);
    const auto all = pointers(examples);
    AnswerOptions options{.max_new_tokens = 6, .decoding = {.sampling = {.temperature = 1.5f, .seed = 7}}};
    const Texts together = answers_of(model, all, options);
    options.batch = 1;
    CHECK(answers_of(model, all, options) == together);
    options.batch = 4;
    std::vector<const SpeechExample*> turned(all.rbegin(), all.rend());
    Texts reversed = answers_of(model, turned, options);
    std::reverse(reversed.begin(), reversed.end());
    CHECK(reversed == together);
    options.decoding.sampling.seed = 8;
    CHECK(answers_of(model, all, options) != together);
    options.decoding.sampling = {.temperature = 0};
    const Texts greedy = answers_of(model, all, options);
    CHECK(greedy != together);
    options.decoding.sampling = {.temperature = 2, .top_k = 1};
    CHECK(answers_of(model, all, options) == greedy);
}

TEST_CASE("tokens are drawn as often as the distribution says, and their log-probabilities are the model's") {
    const NoGrad no_grad;
    const Wavllm model = stage2_model(8);
    const auto examples = stage2_examples(1);
    constexpr int64_t kDraws = 3000;
    const std::vector<const SpeechExample*> many(kDraws, &examples[0]);
    const LlmInput in = model.inputs(make_batch(many, false));
    GenerateOptions options{.max_new_tokens = 1,
                            .lora = &model.lora(),
                            .run = model.lora_run(in.plan),
                            .log_probs = true,
                            .sampling = {.temperature = 0.5f, .seed = 3}};
    for (int64_t i = 0; i < kDraws; ++i) options.keys.push_back(i);
    const auto drawn = generate(model.llama(), in.x, in.plan.borders, options);

    const LlmInput one = model.inputs(make_batch(std::span(many).first(1), false));
    LlamaPass pass;
    pass.borders = one.plan.borders;
    pass.positions = one.plan.positions;
    const Tensor h = model.run(one.x, pass, model.lora_run(one.plan));
    const auto z = model.llama().logits(h.slice(0, h.dim(0) - 1, h.dim(0)).to_contiguous()).values();
    double total = 0, plain = 0;
    for (const double v : z) total += std::exp(2 * v), plain += std::exp(v);
    std::vector<int64_t> counts(z.size(), 0);
    for (const Generated& g : drawn) {
        const auto id = static_cast<size_t>(g.tokens[0]);
        ++counts[id];
        CHECK(std::abs(g.log_probs[0] - (z[id] - std::log(plain))) < 1e-4);
    }
    for (size_t i = 0; i < z.size(); ++i) {
        const double p = std::exp(2 * z[i]) / total, expected = p * kDraws;
        CHECK(std::abs(static_cast<double>(counts[i]) - expected) <= 5 * std::sqrt(expected * (1 - p)) + 1);
    }
    options.keys.pop_back();
    CHECK_THROWS_WITH_AS(generate(model.llama(), in.x, in.plan.borders, options), doctest::Contains("2999 are given"),
                         ShapeError);
}

TEST_CASE("one beam is greedy decoding; more find texts that are likelier than it, or as likely") {
    const NoGrad no_grad;
    const Wavllm model = stage2_model(8);
    const auto examples = stage2_examples(8);
    const LlmInput in = model.inputs(make_batch(pointers(examples), false));
    const LoraRun run = model.lora_run(in.plan);
    const auto greedy =
        generate_greedy(model.llama(), in.x, in.plan.borders,
                        {.max_new_tokens = 4, .eos = 2, .lora = &model.lora(), .run = run, .log_probs = true});
    BeamOptions options;
    options.max_new_tokens = 4;
    options.eos = 2;
    options.lora = &model.lora();
    options.run = run;
    options.length_penalty = 0;
    options.beams = 1;
    const auto one = beam_search(model.llama(), in.x, in.plan.borders, options);
    options.beams = 16;
    const auto many = beam_search(model.llama(), in.x, in.plan.borders, options);
    for (size_t i = 0; i < examples.size(); ++i) {
        REQUIRE(one[i].size() == 1);
        CHECK(one[i][0].tokens == greedy[i].tokens);
        double sum = 0;
        for (const float p : greedy[i].log_probs) sum += p;
        CHECK(one[i][0].log_prob == doctest::Approx(sum).epsilon(1e-5));
        CHECK(many[i].size() == 16);
        CHECK(many[i][0].log_prob >= sum - 1e-4);
        for (size_t j = 1; j < many[i].size(); ++j) CHECK(many[i][j - 1].score >= many[i][j].score);
    }
    options.beams = 33;
    CHECK_THROWS_WITH_AS(beam_search(model.llama(), in.x, in.plan.borders, options),
                         doctest::Contains("only 64 tokens"), UsageError);
    options.beams = 0;
    CHECK_THROWS_AS(beam_search(model.llama(), in.x, in.plan.borders, options), UsageError);
}

TEST_CASE("limits of new tokens are each request's own") {
    const NoGrad no_grad;
    const Wavllm model = stage2_model(8);
    const auto examples = stage2_examples(3);
    const LlmInput in = model.inputs(make_batch(pointers(examples), false));
    GenerateOptions options{.max_new_tokens = 5, .lora = &model.lora(), .run = model.lora_run(in.plan)};
    const Texts whole = texts_of(generate(model.llama(), in.x, in.plan.borders, options));
    options.limits = {5, 0, 2};
    Texts cut = texts_of(generate(model.llama(), in.x, in.plan.borders, options));
    CHECK(cut[0] == whole[0]);
    CHECK(cut[1].empty());
    CHECK(cut[2] == std::vector(whole[2].begin(), whole[2].begin() + 2));
}

TEST_CASE("as released: BOS stands for right's first token, and the other tokens of right are counted") {
    const Wavllm model = stage2_model(8);
    const auto examples = stage2_examples(4);
    const auto all = pointers(examples);
    AnswerOptions options{.max_new_tokens = 9};
    options.decoding.begin_with_bos = true;
    const Texts bos = answers_of(model, all, options);
    auto changed = examples;
    for (SpeechExample& e : changed) e.ids.right[0] = 1;
    options.decoding.begin_with_bos = false;
    CHECK(answers_of(model, pointers(changed), options) == bos);
    CHECK(answers_of(model, all, options) != bos);
    options.decoding.count_prompt = true;
    const Texts counted = answers_of(model, all, options);
    for (size_t i = 0; i < all.size(); ++i) CHECK(counted[i].size() <= 9 - (all[i]->ids.right.size() - 1));
    options.decoding.beams = 2;
    CHECK_THROWS_WITH_AS(answers_of(model, all, options), doctest::Contains("beam search neither"), UsageError);
}
