// The linear probe. Witness: classes whose best possible accuracy is known, from labels that nothing tells to a line that
// divides them.

#include "train/pretrain/probe.h"

#include <doctest/doctest.h>

#include "tensor/error.h"
#include "tensor/philox.h"

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
    CHECK(linear_probe(rows(600, 2, 0), rows(600, 2, 1), 3).test_accuracy == some.test_accuracy);
}

TEST_CASE("probe: refuses sets that do not fit") {
    ProbeSet narrow{.dim = 2};
    const float row[2] = {0, 0};
    narrow.add(row, 0, 0);
    CHECK_THROWS_AS(linear_probe(rows(12, 1, 0), narrow, 3), ShapeError);
    CHECK_THROWS_AS(linear_probe(rows(12, 1, 0), rows(12, 1, 1), 2), ShapeError);
}
