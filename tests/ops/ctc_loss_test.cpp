// CTC loss beyond its cases. Witnesses: enumeration of every path in float64 for tiny sequences; values and gradients of
// torch.nn.functional.ctc_loss (PyTorch 2.5.1, float64, blank as the last class) on logits given by a formula; values by
// hand; the same sequences in other batches.

#include "autograd/ops/ctc_loss.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/common/op_case.h"
#include "kernels/ctc_loss/ctc_loss.h"
#include "tensor/thread_pool.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using wavllm::tests::message_of;

namespace {

using Ids = std::vector<int32_t>;

Tensor ids(const Ids& v) {
    return Tensor::from(v, {static_cast<int64_t>(v.size())});
}

Tensor borders(const std::vector<int64_t>& lengths) {
    return kernels::make_borders(lengths);
}

/// One sequence and its target.
kernels::CtcLosses loss_of(const Tensor& z, const Tensor& blank, const Ids& target) {
    return kernels::ctc_loss(z, blank, borders({z.dim(0)}), ids(target), borders({static_cast<int64_t>(target.size())}),
                             1.0f, true);
}

/// What a path says: repeats collapsed, blanks (c) removed.
Ids said(const Ids& path, int32_t blank) {
    Ids result;
    for (size_t t = 0; t < path.size(); ++t)
        if (path[t] != blank && (t == 0 || path[t] != path[t - 1])) result.push_back(path[t]);
    return result;
}

struct Enumerated {
    double p = 0;
    std::vector<double> gradient;  ///< of -log p by the logits, [rows, c + 1], blank last
};

/// Sums all (c+1)^rows paths.
Enumerated enumerate(const Tensor& z, const Tensor& blank, const Ids& target) {
    const int64_t rows = z.dim(0), c = z.dim(1);
    const auto width = static_cast<size_t>(c + 1);
    std::vector<double> y;
    for (int64_t t = 0; t < rows; ++t) {
        double sum = 0;
        for (int64_t k = 0; k <= c; ++k) {
            y.push_back(std::exp(k < c ? z.data<float>()[t * c + k] : blank.data<float>()[t]));
            sum += y.back();
        }
        for (size_t k = 0; k < width; ++k) y[y.size() - 1 - k] /= sum;
    }
    Enumerated e{0, y};
    std::vector<double> through(y.size());  // p of the paths through each label of each row
    Ids path(static_cast<size_t>(rows));
    for (bool more = true; more;) {
        if (said(path, static_cast<int32_t>(c)) == target) {
            double p = 1;
            for (size_t t = 0; t < path.size(); ++t) p *= y[t * width + static_cast<size_t>(path[t])];
            e.p += p;
            for (size_t t = 0; t < path.size(); ++t) through[t * width + static_cast<size_t>(path[t])] += p;
        }
        size_t t = 0;
        while (t < path.size() && path[t] == c) path[t++] = 0;
        more = t < path.size();
        if (more) ++path[t];
    }
    for (size_t i = 0; i < y.size(); ++i) e.gradient[i] -= through[i] / e.p;
    return e;
}

}  // namespace

TEST_CASE("ctc_loss equals the sum over every path, with its gradient") {
    for (const Ids& target : std::vector<Ids>{{}, {0}, {1, 1}, {0, 1}, {2, 0, 2}, {1, 1, 0}, {2, 2, 2}, {0, 1, 2, 0}})
        for (int64_t rows : {1, 2, 5, 6}) {
            const Tensor z = random({rows, 3}, 1.5), blank = random({rows, 1}, 1.5);
            const Enumerated e = enumerate(z, blank, target);
            const auto r = loss_of(z, blank, target);
            CAPTURE(rows);
            CAPTURE(target.size());
            CHECK((r.infeasible == 1) == (e.p == 0));
            CHECK(r.losses.item() == doctest::Approx(e.p == 0 ? 0 : -std::log(e.p)).epsilon(1e-6));
            const std::vector<double> tokens = r.dtokens.values(), blanks = r.dblank.values();
            for (size_t i = 0; i < e.gradient.size(); ++i) {
                const double actual = i % 4 < 3 ? tokens[i / 4 * 3 + i % 4] : blanks[i / 4];
                CHECK(std::abs(actual - (e.p == 0 ? 0 : e.gradient[i])) < 1e-6);
            }
        }
}

TEST_CASE("ctc_loss agrees with PyTorch's float64") {
    struct Case {
        int64_t rows, c;
        Ids target;
        double amplitude, loss;
        double tokens, blanks;  ///< gradient weighted by cos(t + 2k), by cos(t - 1)
    };
    Ids many;
    for (int i = 0; i < 21; ++i) many.push_back(i * 7 % 40);
    const std::vector<Case> cases{
        {12, 6, {3, 3, 1, 1, 1, 5, 0}, 3, 34.28041929361286, -4.605568817418345, -1.1435722803938628},
        {9, 6, {3, 3, 1, 1, 1, 5}, 3, 34.07851808347996, -5.023694771978863, 0.21775817518121984},
        {60, 40, many, 2, 187.58587431879437, -0.8375976490225221, -0.5769613003663662},
        {9, 5, {}, 2, 23.804617536608212, -2.7418108452044248, -1.5896287817388117},
        {1, 4, {2}, 2, 3.3091426739067087, 0.5156137687526153, 0.24324480560295075},
        {25, 6, {0, 1, 1, 4, 2}, 80, 849.2368171867843, -1.5748750515838008, 1.519888107458075},
        {30, 3, {1}, 5, 98.26917405370928, -12.543479991789768, 1.1682115020990533},
    };
    for (const Case& k : cases) {
        Tensor z = Tensor::empty({k.rows, k.c}), blank = Tensor::empty({k.rows, 1});
        for (int64_t t = 0; t < k.rows; ++t) {
            const auto td = static_cast<double>(t);
            blank.mutable_data<float>()[t] = static_cast<float>(k.amplitude * std::cos(0.4 * td));
            for (int64_t c = 0; c < k.c; ++c) {
                const auto cd = static_cast<double>(c);
                const double v = k.amplitude * std::sin(0.9 * td + 1.7 * cd + 0.05 * td * cd);
                z.mutable_data<float>()[t * k.c + c] = static_cast<float>(v);
            }
        }
        const auto r = loss_of(z, blank, k.target);
        const std::vector<double> dz = r.dtokens.values(), db = r.dblank.values();
        double tokens = 0, blanks = 0;
        for (int64_t t = 0; t < k.rows; ++t) {
            blanks += db[static_cast<size_t>(t)] * std::cos(static_cast<double>(t - 1));
            for (int64_t c = 0; c < k.c; ++c)
                tokens += dz[static_cast<size_t>(t * k.c + c)] * std::cos(static_cast<double>(t + 2 * c));
        }
        CAPTURE(k.loss);
        CHECK(r.infeasible == 0);
        CHECK(r.losses.item() == doctest::Approx(k.loss).epsilon(2e-7));
        CHECK(std::abs(tokens - k.tokens) < 3e-6);
        CHECK(std::abs(blanks - k.blanks) < 3e-6);
    }
}

TEST_CASE("ctc_loss: long sequences whose probabilities are far below the smallest double") {
    // Every row prefers token 0 by 80; the target asks for token 1 in every second row, so p is about e^(-80 * 1000).
    const int64_t rows = 2000;
    Tensor z = Tensor::zeros({rows, 2}), blank = Tensor::full({rows, 1}, -80);
    for (int64_t t = 0; t < rows; ++t) z.mutable_data<float>()[2 * t] = 80;
    Ids target;
    for (int32_t t = 0; t < rows; ++t) target.push_back(t % 2);
    const auto r = loss_of(z, blank, target);
    CHECK(r.losses.item() == doctest::Approx(80.0 * 1000).epsilon(1e-7));
    for (double d : r.dtokens.slice(0, 500, 501).values()) CHECK(std::abs(d) < 1e-6);  // token 0, as it should be
    const std::vector<double> odd = r.dtokens.slice(0, 501, 502).values();
    CHECK(odd[0] == doctest::Approx(1));
    CHECK(odd[1] == doctest::Approx(-1));
}

TEST_CASE("ctc_loss: a sequence that cannot be aligned is counted and adds nothing") {
    Tensor z = random({7, 5}), blank = random({7, 1});
    set_requires_grad(z);
    set_requires_grad(blank);
    // 3 rows for {2, 2}: just enough; 2 rows for {1, 1}: a blank short; none for {4}; 2 for the empty target
    const CtcLoss r = ctc_loss(z, blank, borders({3, 2, 0, 2}), ids({2, 2, 1, 1, 4}), borders({2, 2, 1, 0}), 1);
    CHECK(r.infeasible == 2);
    const std::vector<double> losses = r.sequence_losses.values();
    CHECK(losses[0] > 0);
    CHECK(losses[1] == 0);
    CHECK(losses[2] == 0);
    CHECK(losses[3] > 0);
    CHECK(r.loss.item() == doctest::Approx(losses[0] + losses[3]));
    backward(r.loss);
    for (double g : grad(z).slice(0, 3, 5).values()) CHECK(g == 0);
    for (double g : grad(blank).slice(0, 3, 5).values()) CHECK(g == 0);
    for (double g : grad(z).slice(0, 0, 3).values()) CHECK(g != 0);
    for (double g : grad(blank).slice(0, 5, 7).values()) CHECK(g < 0);
}

TEST_CASE("ctc_loss: a sequence's bits do not depend on its batch or on the threads") {
    const std::vector<int64_t> rows{41, 23, 36}, lengths{12, 7, 9};
    const Tensor z = random({100, 333}, 3), blank = random({100, 1}, 3), targets = random_ids({28}, 333);
    const auto part = [](const Tensor& t, int64_t begin, int64_t n) {
        const Tensor s = t.slice(0, begin, begin + n);
        return std::string(static_cast<const char*>(s.raw()), s.bytes());
    };
    const int before = num_threads();
    for (int threads : {1, 2, 3}) {
        set_num_threads(threads);
        const auto whole = kernels::ctc_loss(z, blank, borders(rows), targets, borders(lengths), 0.1f, true);
        int64_t row = 0, target = 0;
        for (size_t s = 0; s < 3; ++s) {
            const auto alone = kernels::ctc_loss(z.slice(0, row, row + rows[s]), blank.slice(0, row, row + rows[s]),
                                                 borders({rows[s]}), targets.slice(0, target, target + lengths[s]),
                                                 borders({lengths[s]}), 0.1f, true);
            const auto at = static_cast<int64_t>(s);
            CHECK(part(whole.losses, at, 1) == part(alone.losses, 0, 1));
            CHECK(part(whole.dtokens, row, rows[s]) == part(alone.dtokens, 0, rows[s]));
            CHECK(part(whole.dblank, row, rows[s]) == part(alone.dblank, 0, rows[s]));
            row += rows[s];
            target += lengths[s];
        }
        const auto loss_only = kernels::ctc_loss(z, blank, borders(rows), targets, borders(lengths), 0.1f, false);
        CHECK(part(whole.losses, 0, 3) == part(loss_only.losses, 0, 3));
        CHECK_FALSE(loss_only.dtokens.defined());
    }
    set_num_threads(before);
}

TEST_CASE("ctc_loss passes NaN and infinity on, to their own sequence alone") {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
        Tensor z = random({9, 4});
        const Tensor blank = random({9, 1});
        z.mutable_data<float>()[4 * 4 + 2] = bad;  // row 4: all that the second sequence's target could use
        const auto r = kernels::ctc_loss(z, blank, borders({4, 1, 4}), ids({0, 2, 3}), borders({1, 1, 1}), 1.0f, true);
        const std::vector<double> losses = r.losses.values();
        CHECK(std::isfinite(losses[0]));
        CHECK(std::isfinite(losses[2]));
        CHECK((bad == -INFINITY ? losses[1] == INFINITY : std::isnan(losses[1])));
        for (double g : r.dtokens.slice(0, 4, 5).values()) CHECK(std::isnan(g));
        for (double g : r.dtokens.slice(0, 5, 9).values()) CHECK(std::isfinite(g));
    }
    Tensor z = random({4, 3}, 1);
    z.mutable_data<float>()[5] = -INFINITY;  // a token that the target does not use costs nothing
    const auto r = loss_of(z, Tensor::zeros({4, 1}), {0, 1});
    CHECK(std::isfinite(r.losses.item()));
    CHECK(r.dtokens.values()[5] == 0);
}

TEST_CASE("ctc_loss: loss and gradient follow the normalizer and dy; frozen inputs leave nothing on the tape") {
    const Tensor z0 = random({6, 5}), blank = random({6, 1}), targets = ids({1, 3});
    Tensor z = z0.clone();
    set_requires_grad(z);
    const CtcLoss r = ctc_loss(z, blank, borders({6}), targets, borders({2}), 4);
    backward(r.loss, Tensor::full({1}, 0.5));
    const auto plain = loss_of(z0, blank, {1, 3});
    CHECK(r.loss.item() == doctest::Approx(plain.losses.item() / 4));
    const std::vector<double> actual = grad(z).values(), expected = plain.dtokens.values();
    for (size_t i = 0; i < actual.size(); ++i) CHECK(actual[i] == doctest::Approx(expected[i] / 8).epsilon(1e-6));
    ctc_loss(z0, blank, borders({6}), targets, borders({2}), 4);
    CHECK(tape_length() == 0);
}

TEST_CASE("ctc_loss names what does not fit") {
    const Tensor z = random({6, 5}), blank = random({6, 1});
    const auto run = [&](const Ids& targets, const std::vector<int64_t>& lengths, const std::vector<int64_t>& rows) {
        ctc_loss(z, blank, borders(rows), ids(targets), borders(lengths), 1);
    };
    CHECK(message_of<Error>([&] {
              run({1, 5}, {2}, {6});
          }) == "ctc_loss: target 5 at position 1 is outside the 5 tokens");
    CHECK_THROWS_AS(run({-1}, {1}, {6}), Error);
    CHECK(message_of<ShapeError>([&] {
              run({1}, {1}, {3, 3});
          }).find("2 sequences of rows, but 1 target") != std::string::npos);
    CHECK_THROWS_AS(run({1}, {1}, {5}), ShapeError);
    CHECK_THROWS_AS(run({1}, {2}, {6}), ShapeError);
    CHECK_THROWS_AS(ctc_loss(z, blank, borders({6}), ids({}), borders({0}), 0), UsageError);
    CHECK_THROWS_AS(ctc_loss(z, random({6}), borders({6}), ids({1}), borders({1}), 1), ShapeError);
}
