// Row ops: errors, frozen sources, and that gradients of weights do not depend on how a batch is cut (hand-made
// checks).

#include "autograd/ops/rows.h"

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/ops/add.h"
#include "autograd/ops/columns.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/softmax.h"
#include "autograd/tape.h"
#include "kernels/common/op_case.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/weighted_sum/weighted_sum.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using wavllm::tests::message_of;

namespace {

Tensor ints(const std::vector<int32_t>& v) {
    return Tensor::from(v, {static_cast<int64_t>(v.size())});
}

bool same_bits(const Tensor& a, const Tensor& b) {
    return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

}  // namespace

TEST_CASE("embedding names an id outside the vocabulary") {
    const Tensor table = random({5, 4});
    const std::string high = message_of<Error>([&] { embedding(table, ints({1, 5})); });
    CHECK(high.find("id 5 at position 1") != std::string::npos);
    CHECK(high.find("5 tokens") != std::string::npos);
    CHECK_THROWS_AS(embedding(table, ints({-1})), Error);
    CHECK_THROWS_AS(embedding(Tensor::zeros({5, 4}, DType::i32), ints({1})), DTypeError);
}

TEST_CASE("row movers name an entry outside its source") {
    const Tensor a = random({3, 4}), b = random({2, 4});
    CHECK(message_of<ShapeError>([&] { gather_rows(a, ints({0, 3})); }).find("index[1] is 3") != std::string::npos);
    CHECK(message_of<ShapeError>([&] { splice_rows(a, b, ints({0, -3})); }).find("plan[1] is -3") != std::string::npos);
    CHECK_THROWS_AS(splice_rows(a, b, ints({3})), ShapeError);
    CHECK_THROWS_AS(splice_rows(a, random({2, 5}), ints({0})), ShapeError);
    CHECK_THROWS_AS(concat_rows({a, random({2, 5})}), ShapeError);
    CHECK_THROWS_AS(concat_rows(std::initializer_list<Tensor>{}), ShapeError);
    CHECK_THROWS_AS(slice_columns(a, 2, 5), ShapeError);
    CHECK_THROWS_AS(slice_columns(a, 3, 2), ShapeError);
}

TEST_CASE("splice_rows with text frozen gives a gradient to speech alone") {
    const Tensor text = random({2, 3});
    Tensor speech = random({2, 3});
    set_requires_grad(speech);
    const Tensor y = splice_rows(text, speech, ints({0, -2, 1, -1}));
    const Tensor dy = random({4, 3});
    backward(y, dy);
    CHECK(same_bits(grad(speech), concat_rows({dy.slice(0, 3, 4), dy.slice(0, 1, 2)})));
    CHECK_FALSE(grad(text).defined());
}

TEST_CASE("one tensor concatenated twice and added gathers all its gradients") {
    Tensor x = random({2, 3});
    set_requires_grad(x);
    const Tensor h = x + x;  // no leaf: its gradient arrives as views of dy
    const Tensor y = concat_rows({h, h, h});
    const Tensor dy = random({6, 3});
    backward(y, dy);
    const std::vector<double> g = grad(x).values(), d = dy.values();
    for (size_t i = 0; i < 6; ++i) CHECK(g[i] == doctest::Approx(2 * (d[i] + d[i + 6] + d[i + 12])).epsilon(1e-5));
}

TEST_CASE("softmax gives masked entries zero and carries NaN") {
    Tensor x = random({3, 20});
    float* p = x.mutable_data<float>();
    p[3] = -INFINITY;
    p[25] = NAN;
    std::fill(p + 40, p + 60, -INFINITY);
    const std::vector<double> y = softmax(x).values();
    double total = 0;
    for (size_t i = 0; i < 20; ++i) total += y[i];
    CHECK(y[3] == 0);
    CHECK(total == doctest::Approx(1).epsilon(1e-6));
    CHECK(std::isnan(y[20]));
    CHECK(std::isnan(y[40]));
}

TEST_CASE("gradients of weights are the same bits however the rows are cut into batches") {
    const int64_t rows = 11, d = 70, cut = 4;
    const Tensor x = random({rows, d}), dy = random({rows, d}), w = random({3});
    Tensor dw = Tensor::zeros({d}), dw_cut = Tensor::zeros({d}), db = Tensor::zeros({d}), db_cut = Tensor::zeros({d});
    kernels::layer_norm_backward_w(dy, x, 1e-5F, dw);
    kernels::layer_norm_backward_b(dy, db);
    for (auto [begin, end] : {std::pair{int64_t{0}, cut}, std::pair{cut, rows}}) {
        kernels::layer_norm_backward_w(dy.slice(0, begin, end), x.slice(0, begin, end), 1e-5F, dw_cut);
        kernels::layer_norm_backward_b(dy.slice(0, begin, end), db_cut);
    }
    CHECK(same_bits(dw, dw_cut));
    CHECK(same_bits(db, db_cut));

    const Tensor stack = random({3, rows, d});
    Tensor mix = Tensor::zeros({3}), mix_cut = Tensor::zeros({3});
    kernels::weighted_sum_backward_w(dy, stack, w, mix);
    for (auto [begin, end] : {std::pair{int64_t{0}, cut}, std::pair{cut, rows}})
        kernels::weighted_sum_backward_w(dy.slice(0, begin, end), stack.slice(1, begin, end).to_contiguous(), w,
                                         mix_cut);
    CHECK(same_bits(mix, mix_cut));
}
