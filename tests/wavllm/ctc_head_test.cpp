// The CTC head: its loss and gradients by hand-made logits and finite differences, its decoder against all logits at
// once, and that it learns. Witness: float64 computed here from the definition, and the gradient check.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/gradient_check.h"
#include "autograd/tape.h"
#include "infer/evaluate.h"
#include "kernels/common/check.h"
#include "kernels/ctc_loss/ctc_loss.h"
#include "models/ctc_head/ctc_path.h"
#include "tests/support/tiny_model.h"
#include "train/ctc_classes.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

constexpr int64_t kDim = 32;

Tensor random_rows(int64_t rows, uint64_t seed) {
    const Philox rng(seed, "rows", 0);
    Tensor x = Tensor::empty({rows, kDim});
    for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<float>()[i] = rng.normal(static_cast<uint64_t>(i));
    return x;
}

double cosine(const float* a, const float* b) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < kDim; ++i) {
        ab += static_cast<double>(a[i]) * b[i];
        aa += static_cast<double>(a[i]) * a[i];
        bb += static_cast<double>(b[i]) * b[i];
    }
    return ab / std::sqrt(aa * bb);
}

/// Scale, bias and blank as a head of some training might have them.
Parameters moved(const CtcHead& head) {
    Parameters p = head.parameters();
    p[1].tensor.mutable_data<float>()[0] = 0.8f;
    p[2].tensor.mutable_data<float>()[0] = -1.5f;
    return p;
}

Tensor ids(std::vector<int32_t> v) {
    return Tensor::from(v, {static_cast<int64_t>(v.size())});
}

}  // namespace

TEST_CASE("ctc head: the loss is CTC over scaled cosines with the tokens' embeddings") {
    const Llama llama = random_llama(tiny_llama_config(), 3);
    const CtcHead head(kDim, 9);
    const Parameters p = moved(head);
    const Tensor x = random_rows(11, 4);
    const CtcTargets targets{ids({7, 40, 3, 63}), kernels::make_borders(std::vector<int64_t>{6, 5}), ids({0, 2, 2, 1}),
                             kernels::make_borders(std::vector<int64_t>{3, 1})};
    const Tensor embeddings = llama.embed(targets.classes);
    Tensor tokens = Tensor::empty({11, 4}), blank = Tensor::empty({11, 1});
    for (int64_t t = 0; t < 11; ++t) {
        const float* row = x.data<float>() + t * kDim;
        for (int64_t c = 0; c < 4; ++c)
            tokens.mutable_data<float>()[t * 4 + c] =
                static_cast<float>(20 * 0.8 * cosine(row, embeddings.data<float>() + c * kDim));
        blank.mutable_data<float>()[t] = static_cast<float>(20 * 0.8 * cosine(row, p[0].tensor.data<float>()) - 1.5);
    }
    const auto expected =
        kernels::ctc_loss(tokens, blank, targets.borders, targets.targets, targets.target_borders, 1, false);
    double sum = 0;
    for (double loss : expected.losses.values()) sum += loss;
    NoGrad no_grad;
    CHECK(head.loss(x, targets, llama, 4).loss.item() == doctest::Approx(sum / 4).epsilon(1e-4));
}

TEST_CASE("ctc head: the best path is the largest of all tokens' logits and the blank's") {
    const Llama llama = random_llama(tiny_llama_config(), 3);
    const CtcHead head(kDim, 9);
    const Parameters p = moved(head);
    const int64_t vocab = llama.config().vocab;
    Tensor all = Tensor::empty({vocab}, DType::i32);
    for (int64_t i = 0; i < vocab; ++i) all.mutable_data<int32_t>()[i] = static_cast<int32_t>(i);
    const Tensor embeddings = llama.embed(all);
    Tensor x = random_rows(20, 8);
    for (int64_t i = 0; i < kDim; ++i) {  // one row is a token's own direction, one the blank's
        x.mutable_data<float>()[i] = 3 * embeddings.data<float>()[61 * kDim + i];
        x.mutable_data<float>()[kDim + i] = p[0].tensor.data<float>()[i];
    }
    const std::vector<int32_t> path = head.best_path(x, llama).tokens;
    REQUIRE(path.size() == 20);
    CHECK(path[0] == 61);
    for (int64_t t = 0; t < 20; ++t) {
        const float* row = x.data<float>() + t * kDim;
        double top = 16 * cosine(row, p[0].tensor.data<float>()) - 1.5;
        int32_t best = CtcHead::kBlank;
        for (int64_t c = 0; c < vocab; ++c)
            if (const double v = 16 * cosine(row, embeddings.data<float>() + c * kDim); v > top) {
                top = v;
                best = static_cast<int32_t>(c);
            }
        CHECK(path[static_cast<size_t>(t)] == best);
    }
}

TEST_CASE("ctc head: gradients reach speech, blank, scale and bias, and are right") {
    const Llama llama = random_llama(tiny_llama_config(), 3);
    const CtcHead head(kDim, 9);
    const Parameters p = moved(head);
    Tensor x = random_rows(7, 4);
    set_requires_grad(x);
    const CtcTargets targets{ids({7, 40, 3}), kernels::make_borders(std::vector<int64_t>{7}), ids({0, 2}),
                             kernels::make_borders(std::vector<int64_t>{2})};
    const auto loss = [&] { return head.loss(x, targets, llama, 2).loss; };
    backward(loss());
    std::vector<std::pair<Tensor, const char*>> leaves{{x, "speech"}};
    for (const Parameter& q : p) leaves.emplace_back(q.tensor, q.name.c_str());
    for (auto& [leaf, name] : leaves) {
        CAPTURE(name);
        REQUIRE(gradient_arrived(leaf));
        const float* g = grad(leaf).data<float>();
        NoGrad no_grad;
        for (int64_t i = 0; i < std::min<int64_t>(leaf.numel(), 40); i += 3) {
            float& v = leaf.mutable_data<float>()[i];
            const float old = v;
            constexpr float h = 1e-2f;
            v = old + h;
            const double up = loss().item();
            v = old - h;
            const double down = loss().item();
            v = old;
            CHECK(g[i] == doctest::Approx((up - down) / (2 * h)).epsilon(0.02).scale(0.05));
        }
    }
}

TEST_CASE("ctc classes: the batch's tokens, the frequent ones, and others anew in every step") {
    const auto examples = tiny_examples(8);
    const auto all = pointers(examples);
    const CtcClasses classes(all, {.frequent = 3, .random = 10, .vocab = 64, .seed = 2});
    const std::vector<const SpeechExample*> two{all[1], all[2]};
    const CtcTargets a = classes.targets(two, 5), again = classes.targets(two, 5), b = classes.targets(two, 6);
    CHECK(bytes_of(a.classes) == bytes_of(again.classes));
    CHECK(bytes_of(a.classes) != bytes_of(b.classes));
    const std::vector<double> tokens = a.classes.values(), targets = a.targets.values();
    REQUIRE(targets.size() == 4);
    const std::vector<double> said{21, 31, 22, 32};  // of clips 1 and 2, without the end
    for (size_t i = 0; i < 4; ++i) CHECK(tokens[static_cast<size_t>(targets[i])] == said[i]);
    std::vector<double> sorted = tokens;
    std::sort(sorted.begin(), sorted.end());
    CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());  // no token is two classes
    CHECK(std::find(tokens.begin(), tokens.end(), 20.0) != tokens.end());     // frequent, and in neither clip
    CHECK(a.borders.values().back() == static_cast<double>(SpeechAdapter::frames(all[1]->chunk_rows[0]) +
                                                           SpeechAdapter::frames(all[2]->chunk_rows[0])));
}

TEST_CASE("ctc head: trained alone it learns the clips, and the LLM is never run") {
    Wavllm model = tiny_ctc_model();
    const auto examples = tiny_examples(16);
    Preset preset = tiny_staged_preset(150, 1);
    Stage stage = preset.stages[0];
    stage.time_mask = stage.feature_dropout = 0;
    preset.stages[0] = stage;
    Optimizer optimizer(model.parameters(), {}, group_settings(preset, 0));
    const auto all = pointers(examples);
    const CtcClasses classes(all, {.frequent = 8, .random = 8, .vocab = 64, .seed = 2});
    double first = 0, last = 0;
    for (int64_t step = 0; step < stage.steps; ++step) {
        std::vector<SpeechBatch> batch{make_batch(all, true)};
        batch[0].ctc = classes.targets(all, static_cast<uint32_t>(step));
        const StepResult r = training_step(model, optimizer, batch, step, step, stage, preset);
        (step == 0 ? first : last) = r.ctc;
        CHECK(r.ce == 0);
    }
    CHECK(last < 0.2 * first);
    CHECK(evaluate_by_ctc(model, NumberTokenizer(), all).accuracy() > 0.9);
}

TEST_CASE("blanks dropped: the LLM reads the rows that stay, in every batch the same, and still learns from them") {
    const Wavllm plain = tiny_ctc_model();
    const Wavllm model(plain.shared_llama(), plain.bridge(), plain.lora(),
                       CtcHead(32, 5, {.drop_blanks = true, .blank_margin = 0}));
    // a bias that makes about half of the rows blank
    model.ctc().parameters()[2].tensor.mutable_data<float>()[0] = 6;
    const auto examples = tiny_examples(6);
    const auto all = pointers(examples);
    const SpeechBatch batch = make_batch(all, true);
    NoGrad no_grad;
    Tensor borders;
    const Tensor speech = model.speech(batch, borders);
    const std::vector<int32_t> path = model.ctc().best_path(speech, model.llama()).tokens;
    const LlmInput in = model.inputs(batch);
    std::vector<double> expected;
    for (size_t t = 0; t < path.size(); ++t)
        if (path[t] != CtcHead::kBlank) expected.push_back(static_cast<double>(t));
    REQUIRE(in.kept.values() == expected);
    CHECK(expected.size() > 0);
    CHECK(expected.size() < path.size());
    CHECK(in.x.dim(0) == batch.plan.plan.numel() - static_cast<int64_t>(path.size() - expected.size()));
    // the rows themselves, and each clip alone
    int64_t n = 0, row = 0;
    for (int64_t t = 0; t < in.x.dim(0); ++t)
        if (in.plan.plan.data<int32_t>()[t] < 0) {
            const auto from = static_cast<int64_t>(expected[static_cast<size_t>(n++)]);
            CHECK(bytes_of(in.x.slice(0, t, t + 1).to_contiguous()) ==
                  bytes_of(speech.slice(0, from, from + 1).to_contiguous()));
        }
    for (size_t i = 0; i < all.size(); ++i) {
        const LlmInput alone = model.inputs(make_batch(std::span(all).subspan(i, 1), true));
        CHECK(bytes_of(alone.x) == bytes_of(in.x.slice(0, row, row + alone.x.dim(0)).to_contiguous()));
        row += alone.x.dim(0);
    }
    CHECK(row == in.x.dim(0));
}

TEST_CASE("draft: between each clip's rows and the right prompt stands what the head writes down") {
    const Wavllm plain = tiny_ctc_model();
    CtcHeadConfig config;
    config.draft = [](std::span<const int32_t> pieces) {
        return std::vector<int32_t>{3, static_cast<int32_t>(pieces.size() % 2 + 40)};
    };
    const Wavllm model(plain.shared_llama(), plain.bridge(), plain.lora(), CtcHead(32, 5, config));
    const auto examples = tiny_examples(5);
    const SpeechBatch batch = make_batch(pointers(examples), true);
    NoGrad no_grad;
    Tensor borders;
    const Tensor speech = model.speech(batch, borders);
    const auto drafts = model.ctc().for_llm(speech, batch.speech_rows, model.llama()).drafts;
    const LlmInput in = model.inputs(batch);
    REQUIRE(in.x.dim(0) == batch.plan.plan.numel() + 2 * 5);
    const int64_t* b = in.plan.borders.data<int64_t>();
    for (size_t i = 0; i < 5; ++i) {
        const int64_t after = b[i] + 3 + batch.speech_rows[i];  // the left prompt has 3 tokens
        const Tensor expected = model.llama().embed(ids({3, drafts[i][1], 7, 8}));
        CHECK(bytes_of(in.x.slice(0, after, after + 4).to_contiguous()) == bytes_of(expected));
    }
    CHECK(in.plan.targets.values() == batch.plan.targets.values());
}

TEST_CASE("ctc head: of a run of one token the loudest row is kept; a head that knows few tokens says no other") {
    const Llama llama = random_llama(tiny_llama_config(), 3);
    const CtcHead head(kDim, 9, {.drop_blanks = true, .blank_margin = 0, .drop_repeats = true, .tokens = {7, 40, 61}});
    const Parameters p = head.parameters();
    // rows that say: 7 (softly) 7 7 (softly), blank, 7, 40; second clip: 40 61
    const Tensor tokens = llama.embed(ids({7, 7, 7, 7, 7, 40, 40, 61}));
    Tensor x = Tensor::empty({8, kDim});
    const float* blank = p[0].tensor.data<float>();
    for (int64_t t = 0; t < 8; ++t) {
        const float* token = tokens.data<float>() + t * kDim;
        const double size = cosine(token, token) / cosine(blank, blank);  // 1: both are directions below
        double token_norm = 0, blank_norm = 0;
        for (int64_t i = 0; i < kDim; ++i) {
            token_norm += static_cast<double>(token[i]) * token[i];
            blank_norm += static_cast<double>(blank[i]) * blank[i];
        }
        const double of_token = t == 3 ? 0 : t == 0 || t == 2 ? 0.8 : 1;
        for (int64_t i = 0; i < kDim; ++i)
            x.mutable_data<float>()[t * kDim + i] =
                static_cast<float>(size * (of_token * token[i] / std::sqrt(token_norm) +
                                           (1 - of_token) * blank[i] / std::sqrt(blank_norm)));
    }
    const CtcHead::ForLlm read = head.for_llm(x, std::vector<int64_t>{6, 2}, llama);
    CHECK(read.rows == std::vector<int32_t>{1, 4, 5, 6, 7});
    CHECK(read.counts == std::vector<int64_t>{3, 2});
    CHECK(read.drafts.empty());
    CtcHeadConfig drafting = head.config();
    drafting.drop_blanks = drafting.drop_repeats = false;
    drafting.draft = [](std::span<const int32_t> pieces) { return std::vector(pieces.begin(), pieces.end()); };
    const CtcHead::ForLlm all = CtcHead(kDim, 9, drafting).for_llm(x, std::vector<int64_t>{6, 2}, llama);
    CHECK(all.rows.size() == 8);
    CHECK(all.drafts == std::vector<std::vector<int32_t>>{{7, 7, 40}, {40, 61}});
    const auto said = head.best_path(random_rows(50, 3), llama).tokens;
    for (const int32_t token : said) CHECK((token == CtcHead::kBlank || token == 7 || token == 40 || token == 61));

    const Tensor log_probs = head.log_probs(x, llama);
    REQUIRE(log_probs.shape() == Shape{8, 4});
    const auto path = head.best_path(x, llama).tokens;
    for (int64_t t = 0; t < 8; ++t) {
        const float* row = log_probs.data<float>() + t * 4;
        double sum = 0;
        for (int64_t i = 0; i < 4; ++i) sum += std::exp(row[i]);
        CHECK(sum == doctest::Approx(1));
        const int32_t names[] = {CtcHead::kBlank, 7, 40, 61};
        CHECK(names[std::max_element(row, row + 4) - row] == path[static_cast<size_t>(t)]);
    }

    x.mutable_data<float>()[kDim] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_WITH_AS(head.best_path(x, llama), doctest::Contains("row 1"), TrainingError);
}

TEST_CASE("adapter: convolutions of more taps give as many rows, and each hears further") {
    AdapterConfig config{.in = 6, .mid = 8, .dim = 4, .bottleneck = 3, .out = 5, .taps = 5};
    const SpeechAdapter wide(config, "a.", 3);
    NoGrad no_grad;
    Tensor x = Tensor::zeros({33, 6});
    const auto rows_that_change = [&](const SpeechAdapter& adapter) {
        Tensor borders = kernels::make_borders(std::vector<int64_t>{33}), again = borders;
        const Tensor before = adapter.forward(x, borders);
        CHECK(before.dim(0) == SpeechAdapter::frames(33));
        x.mutable_data<float>()[16 * 6] = 3;
        const Tensor after = adapter.forward(x, again);
        x.mutable_data<float>()[16 * 6] = 0;
        int64_t changed = 0;
        for (int64_t t = 0; t < before.dim(0); ++t)
            changed += bytes_of(before.slice(0, t, t + 1).to_contiguous()) !=
                       bytes_of(after.slice(0, t, t + 1).to_contiguous());
        return changed;
    };
    CHECK(rows_that_change(wide) == 3);  // a row hears 5 + 2 * 4 = 13 frames, and there is one every 4
    config.taps = 3;
    CHECK(rows_that_change(SpeechAdapter(config, "a.", 3)) == 1);  // 7 frames
}

TEST_CASE("ctc_collapse: runs become one token, blanks go, a blank between keeps both") {
    constexpr int32_t kNone = CtcHead::kBlank;
    const std::vector<int32_t> path{kNone, 3, 3, kNone, 3, 0, 0, 20, kNone, kNone, 5, 5};
    const CtcPath found = ctc_collapse(path, kNone);
    CHECK(found.tokens == std::vector<int32_t>{3, 3, 0, 20, 5});
    CHECK(found.rows == std::vector<int64_t>{1, 4, 5, 7, 10});
    CHECK(found.ends == std::vector<int64_t>{3, 5, 7, 8, 12});
    CHECK(ctc_collapse({}, kNone).tokens.empty());
    CHECK(ctc_collapse(std::vector<int32_t>{kNone, kNone}, kNone).tokens.empty());
}

TEST_CASE("without a CTC head its decoder says so") {
    const Wavllm model = tiny_model();
    const auto examples = tiny_examples(1);
    CHECK_THROWS_WITH_AS(answer_by_ctc(model, NumberTokenizer(), pointers(examples)), doctest::Contains("no CTC head"),
                         UsageError);
}
