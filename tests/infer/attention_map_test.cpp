// What the LLM looks at. Witness: the attention kernel itself, asked for the shares by values that are 1 in one row of
// speech and 0 elsewhere; alignments by hand.

#include "infer/attention_map.h"

#include <doctest/doctest.h>

#include "autograd/tape.h"
#include "kernels/attention/attention.h"
#include "tests/support/tiny_model.h"

using namespace wavllm;
using namespace wavllm::tests;

TEST_CASE("shares of attention on speech are those that the attention kernel uses") {
    const Wavllm model = tiny_model();
    SpeechExample e = tiny_examples(3)[2];
    const std::vector<int32_t> answer{22, 32, 2};
    const AttentionMap map = attention_map(model, e, answer);
    CHECK(map.layers == 2);
    CHECK(map.heads == 4);
    CHECK(map.tokens == 3);
    CHECK(map.frames == SpeechAdapter::frames(e.chunk_rows[0]));

    NoGrad no_grad;
    e.ids.target = answer;
    const SpeechExample* one[] = {&e};
    const SpeechBatch batch = make_batch(one, true);
    std::vector<Tensor> queries, keys;
    const Observer observer = [&](const std::string& name, const Tensor& t) {
        if (name.ends_with(".queries")) queries.push_back(t.clone());
        if (name.ends_with(".keys")) keys.push_back(t.clone());
    };
    LlamaPass pass;
    pass.borders = batch.plan.borders;
    pass.positions = batch.plan.positions;
    pass.observer = &observer;
    model.run(model.inputs(batch).x, pass, model.stage1_run());
    REQUIRE(queries.size() == 2);

    const int64_t rows = queries[0].dim(0), heads = 4, dh = queries[0].dim(2);
    const auto first_speech = static_cast<int64_t>(e.ids.left.size());
    double worst = 0;
    for (int64_t layer = 0; layer < 2; ++layer)
        for (int64_t frame = 0; frame < map.frames; ++frame) {
            Tensor v = Tensor::zeros({rows, 2, dh});
            for (int64_t i = 0; i < 2 * dh; ++i) v.mutable_data<float>()[(first_speech + frame) * 2 * dh + i] = 1;
            const auto l = static_cast<size_t>(layer);
            const Tensor y = kernels::attention(queries[l], keys[l], v,
                                                {batch.plan.borders, batch.plan.borders, AttentionMask::causal,
                                                 1 / std::sqrt(static_cast<float>(dh))})
                                 .y;
            for (int64_t h = 0; h < heads; ++h)
                for (int64_t t = 0; t < map.tokens; ++t) {
                    const int64_t row = batch.plan.target_rows.data<int32_t>()[t];
                    const double expected = y.data<float>()[row * heads * dh + h * dh];
                    worst = std::max(worst, std::abs(expected - map.map(layer, h)[t * map.frames + frame]));
                }
        }
    CHECK(worst < 1e-5);
}

TEST_CASE("means over heads: of a layer, and of those that point most sharply") {
    AttentionMap m{2, 2, 1, 2, {0.1f, 0.2f, 0.5f, 0.1f, 0.0f, 0.9f, 0.3f, 0.3f}};
    CHECK(m.layer_mean(0)[0] == doctest::Approx(0.3));
    CHECK(m.layer_mean(1)[1] == doctest::Approx(0.6));
    CHECK(m.sharpest_mean(1)[1] == doctest::Approx(0.9));
    CHECK(m.sharpest_mean(2)[0] == doctest::Approx(0.25));  // layer 1 head 0, layer 0 head 1
    CHECK(m.sharpest_mean(9).size() == 2);
}

TEST_CASE("an answer's tokens are found in the CTC head's in order") {
    using Pairs = std::vector<std::pair<int64_t, int64_t>>;
    const std::vector<int32_t> answer{5, 6, 7, 8}, ctc{5, 9, 7, 6, 8};
    const std::vector<int64_t> rows{2, 4, 6, 9, 11};
    const auto pairs = align_to_ctc(answer, ctc, rows);
    CHECK((pairs == Pairs{{0, 2}, {1, 9}, {3, 11}} || pairs == Pairs{{0, 2}, {2, 6}, {3, 11}}));
    CHECK(align_to_ctc(answer, {}, {}).empty());
    CHECK(align_to_ctc(std::vector<int32_t>{1}, ctc, rows).empty());
}

TEST_CASE("an answer without tokens has no attention") {
    CHECK_THROWS_AS(attention_map(tiny_model(), tiny_examples(1)[0], {}), ShapeError);
}
