// The linear probe. Witness: classes whose best possible accuracy is known, from labels that nothing tells to a line that
// divides them.

#include "train/pretrain/probe.h"

#include <doctest/doctest.h>

#include "tensor/error.h"
#include "tensor/philox.h"
#include "tensor/thread_pool.h"

using namespace wavllm;

namespace {

/// Rows of three features, of which the first tells the class (shifted by `apart`), 4 rows a clip.
ProbeSet rows(int64_t n, double apart, uint32_t stream) {
    const Philox rng(11, "probe", stream);
    ProbeSet s{.dim = 3};
    for (int64_t i = 0; i < n; ++i) {
        const int32_t label = static_cast<int32_t>(i / 4 % 3);
        const auto value = [&](int64_t k) { return rng.normal(static_cast<uint64_t>(3 * i + k)); };
        const float row[3] = {value(0) + static_cast<float>(apart * label), 100 * value(1), 0.01f * value(2) + 5};
        s.add(row, label, static_cast<int32_t>(i / 12));
    }
    return s;
}

}  // namespace

TEST_CASE("probe: finds what is there and nothing else") {
    const ProbeResult clear = linear_probe(rows(600, 8, 0), rows(600, 8, 1), 3);
    CHECK(clear.test_accuracy > 0.99);
    const ProbeResult none = linear_probe(rows(600, 0, 0), rows(600, 0, 1), 3);
    CHECK(none.test_accuracy < 0.45);
    const ProbeResult some = linear_probe(rows(600, 2, 0), rows(600, 2, 1), 3);
    // thirds by two lines at 1 and 3: normal tails of 0.159, twice for the one in the middle
    CHECK(some.test_accuracy == doctest::Approx(1 - 4.0 / 3 * 0.1587).epsilon(0.06));
    const double possible = 1 - 4.0 / 3 * 0.1587;
    CHECK(some.fold_accuracy == doctest::Approx(possible).epsilon(0.06));
    CHECK(none.fold_accuracy < 0.45);
    CHECK(clear.fold_accuracy > 0.99);
    const int before = num_threads();
    for (const int threads : {1, 3}) {
        set_num_threads(threads);
        const ProbeResult again = linear_probe(rows(600, 2, 0), rows(600, 2, 1), 3);
        CHECK(again.test_accuracy == some.test_accuracy);
        CHECK(again.train_accuracy == some.train_accuracy);
        CHECK(again.fold_accuracy == some.fold_accuracy);
        CHECK(again.penalty == some.penalty);
    }
    set_num_threads(before);
}

TEST_CASE("probe: a fold is judged by what the others show, and the penalty by the folds") {
    // each clip has a feature of its own that gives its class away: seen, it decides; held back, it says nothing
    ProbeSet train{.dim = 9}, test{.dim = 9};
    for (int32_t clip = 0; clip < 9; ++clip)
        for (int i = 0; i < 4; ++i) {
            float row[9] = {};
            row[clip] = 1;
            train.add(row, clip / 3, clip);
            test.add(row, clip / 3, clip);
        }
    const ProbeResult r = linear_probe(train, test, 3);
    CHECK(r.train_accuracy == 1);
    CHECK(r.fold_accuracy <= 1.0 / 3);
    // as many features as rows to fit, each of which helps a little: a weak penalty fits their noise
    const auto noisy = [](int64_t n, uint32_t stream) {
        const Philox rng(12, "probe", stream);
        ProbeSet s{.dim = 60};
        for (int64_t i = 0; i < n; ++i) {
            float row[60];
            const auto label = static_cast<int32_t>(i % 2);
            for (int64_t k = 0; k < 60; ++k)
                row[k] = rng.normal(static_cast<uint64_t>(60 * i + k)) + 0.3f * static_cast<float>(label);
            s.add(row, label, static_cast<int32_t>(i / 2));
        }
        return s;
    };
    CHECK(linear_probe(noisy(90, 0), noisy(90, 1), 2).penalty >= 1e-2);
    ProbeSet wide{.dim = kProbeMostFeatures + 1};
    const std::vector<float> row(static_cast<size_t>(wide.dim));
    wide.add(row.data(), 0, 0);
    CHECK_THROWS_WITH_AS(linear_probe(wide, wide, 1), doctest::Contains("at most 4096"), UsageError);
}

TEST_CASE("probe: refuses sets that do not fit") {
    ProbeSet narrow{.dim = 2};
    const float row[2] = {0, 0};
    narrow.add(row, 0, 0);
    CHECK_THROWS_AS(linear_probe(rows(12, 1, 0), narrow, 3), ShapeError);
    CHECK_THROWS_AS(linear_probe(rows(12, 1, 0), rows(12, 1, 1), 2), ShapeError);
}
