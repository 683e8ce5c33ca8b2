// Joint decoding. Witness: CTC's prefix probabilities against the sum over all alignments, written out; the search
// against the scores of all texts there are.

#include "infer/joint_decode.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "autograd/tape.h"
#include "infer/generate.h"
#include "kernels/common/check.h"
#include "tests/support/tiny_model.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

/// Rows of log probabilities over blank and `tokens` tokens.
Tensor random_log_probs(int64_t rows, int64_t tokens, uint64_t seed, float spread = 2) {
    const Philox rng(seed, "log_probs", 0);
    Tensor x = Tensor::empty({rows, 1 + tokens});
    for (int64_t t = 0; t < rows; ++t) {
        float* row = x.mutable_data<float>() + t * (1 + tokens);
        double sum = 0;
        for (int64_t i = 0; i <= tokens; ++i) {
            row[i] = spread * rng.normal(static_cast<uint64_t>(t * (1 + tokens) + i));
            sum += std::exp(row[i]);
        }
        for (int64_t i = 0; i <= tokens; ++i) row[i] -= static_cast<float>(std::log(sum));
    }
    return x;
}

/// p of every transcript, by going through all (1 + tokens)^rows alignments.
std::map<std::vector<int32_t>, double> all_transcripts(const Tensor& log_probs) {
    const int64_t rows = log_probs.dim(0), n = log_probs.dim(1);
    std::map<std::vector<int32_t>, double> p;
    int64_t paths = 1;
    for (int64_t t = 0; t < rows; ++t) paths *= n;
    for (int64_t path = 0; path < paths; ++path) {
        std::vector<int32_t> text;
        double log_p = 0;
        int64_t rest = path, last = 0;
        for (int64_t t = 0; t < rows; ++t, rest /= n) {
            const int64_t says = rest % n;
            log_p += log_probs.data<float>()[t * n + says];
            if (says != 0 && says != last) text.push_back(static_cast<int32_t>(says - 1));
            last = says;
        }
        p[text] += std::exp(log_p);
    }
    return p;
}

CtcPrefix::Text text_of(const CtcPrefix& ctc, const std::vector<int32_t>& columns) {
    CtcPrefix::Text text = ctc.empty();
    for (const int32_t column : columns) text = ctc.extended(text, column);
    return text;
}

Spelling own_columns() {
    return [](int32_t token, bool) { return std::vector{token}; };
}

Tensor prompt_rows(int64_t rows) {
    const Philox rng(21, "prompt", 0);
    Tensor x = Tensor::empty({rows, 32});
    for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<float>()[i] = rng.normal(static_cast<uint64_t>(i));
    return x;
}

}  // namespace

TEST_CASE("ctc prefix: what a text begins and ends with is the sum over all alignments") {
    for (const uint64_t seed : {1, 2, 3}) {
        const Tensor log_probs = random_log_probs(5, 2, seed);
        const CtcPrefix ctc(log_probs);
        const auto all = all_transcripts(log_probs);
        const std::vector<std::vector<int32_t>> texts{{}, {0}, {1}, {0, 0}, {0, 1}, {1, 1, 0}, {0, 0, 0}, {1, 0, 1, 0}};
        for (const auto& text : texts) {
            CAPTURE(text.size());
            double begins = 0;
            for (const auto& [whole, p] : all)
                if (whole.size() >= text.size() && std::equal(text.begin(), text.end(), whole.begin())) begins += p;
            const auto at = all.find(text);
            CHECK(std::exp(text_of(ctc, text).begins) == doctest::Approx(begins));
            CHECK(std::exp(ctc.ends(text_of(ctc, text))) == doctest::Approx(at == all.end() ? 0.0 : at->second));
        }
        // more tokens than rows, and a repeat without room for the blank between
        CHECK(text_of(ctc, {0, 1, 0, 1, 0, 1}).begins == -std::numeric_limits<double>::infinity());
        CHECK(text_of(ctc, {0, 0, 0, 0}).begins == -std::numeric_limits<double>::infinity());
    }
    const CtcPrefix silent(Tensor::empty({0, 3}));
    CHECK(silent.ends(silent.empty()) == 0);
    CHECK(silent.extended(silent.empty(), 1).begins == -std::numeric_limits<double>::infinity());
    CHECK_THROWS_AS(CtcPrefix(Tensor::zeros({3})), ShapeError);
}

TEST_CASE("joint decoding: one beam without CTC is the LLM's greedy answer") {
    const Llama llama = random_llama(tiny_llama_config(), 3);
    const CtcPrefix ctc(random_log_probs(4, 64, 1));
    const Tensor x = prompt_rows(6);
    GenerateOptions greedy;
    greedy.max_new_tokens = 9;
    const auto expected = generate_greedy(llama, x, kernels::make_borders(std::vector<int64_t>{6}), greedy)[0].tokens;
    CHECK(decode_jointly(llama, x, ctc, own_columns(), {.ctc_weight = 0, .beams = 1, .max_new_tokens = 9}) == expected);
}

TEST_CASE("joint decoding: with room for everything it finds the best of all texts") {
    const Llama llama = random_llama(tiny_llama_config(), 3);
    constexpr int32_t kEos = 2;
    const int64_t vocab = llama.config().vocab;
    const Tensor x = prompt_rows(5);
    for (const uint64_t seed : {1, 2, 3, 4}) {
        CAPTURE(seed);
        const CtcPrefix ctc(random_log_probs(3, vocab, seed, 3));
        constexpr double kWeight = 0.6;
        // log p of the LLM for every next token after a text
        const auto next = [&](const std::vector<int32_t>& text) {
            NoGrad no_grad;
            Tensor all = Tensor::empty({5 + static_cast<int64_t>(text.size()), 32});
            std::memcpy(all.mutable_raw(), x.raw(), x.bytes());
            if (!text.empty()) {
                const Tensor e = llama.embed(Tensor::from(text, {static_cast<int64_t>(text.size())}));
                std::memcpy(all.mutable_data<float>() + x.numel(), e.raw(), e.bytes());
            }
            LlamaPass pass;
            pass.borders = kernels::make_borders(std::vector<int64_t>{all.dim(0)});
            pass.positions = LlamaPass::positions_for(pass.borders);
            const Tensor h = llama.forward(all, pass);
            const Tensor logits = llama.logits(h.slice(0, all.dim(0) - 1, all.dim(0)).to_contiguous());
            std::vector<double> p;
            for (int64_t i = 0; i < vocab; ++i) p.push_back(log_softmax_at(logits.data<float>(), vocab, i));
            return p;
        };
        // texts of no and of one token: what two steps of the search can end
        const std::vector<double> first = next({});
        std::vector<int32_t> best;
        double top = (1 - kWeight) * first[kEos] + kWeight * ctc.ends(ctc.empty());
        for (int32_t token = 0; token < vocab; ++token) {
            if (token == kEos) continue;
            const double llm = first[static_cast<size_t>(token)] + next({token})[kEos];
            const double score = (1 - kWeight) * llm + kWeight * ctc.ends(text_of(ctc, {token}));
            if (score > top) {
                top = score;
                best = {token};
            }
        }
        CHECK(decode_jointly(
                  llama, x, ctc, own_columns(),
                  {.ctc_weight = kWeight, .beams = vocab, .candidates = vocab, .max_new_tokens = 2, .eos = kEos}) ==
              best);
    }
}

TEST_CASE("joint decoding: CTC alone spells what it hears, though the LLM is random and has other tokens") {
    const Llama llama = random_llama(tiny_llama_config(), 3);
    // the head hears columns 3 1 1 4; a token 10 + c is spelt c, token 30 is spelt 1 1
    Tensor heard = Tensor::full({7, 9}, -9);
    const int64_t says[] = {4, 0, 2, 0, 2, 0, 5};  // 0 is the blank
    for (int64_t t = 0; t < 7; ++t) heard.mutable_data<float>()[t * 9 + says[t]] = -0.003f;
    const Spelling spelling = [](int32_t token, bool) {
        if (token == 30) return std::vector<int32_t>{1, 1};
        return token >= 10 && token < 18 ? std::vector{token - 10} : std::vector<int32_t>{};
    };
    const auto tokens =
        decode_jointly(llama, prompt_rows(4), CtcPrefix(heard), spelling,
                       {.ctc_weight = 0.95, .beams = 6, .candidates = 64, .max_new_tokens = 12, .eos = 2});
    std::vector<int32_t> columns;
    for (const int32_t token : tokens)
        for (const int32_t c : spelling(token, false)) columns.push_back(c);
    CHECK(columns == std::vector<int32_t>{3, 1, 1, 4});
    CHECK_THROWS_AS(decode_jointly(llama, Tensor::empty({0, 32}), CtcPrefix(heard), spelling, {}), ShapeError);
    CHECK_THROWS_AS(decode_jointly(llama, prompt_rows(2), CtcPrefix(heard), spelling, {.beams = 0}), UsageError);
}
