// Promises of dropout beyond its cases (whose oracle is the scalar Philox).

#include "autograd/ops/dropout.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "autograd/tape.h"
#include "kernels/common/op_case.h"

using namespace wavllm;

namespace {

Tensor keys(const std::vector<int64_t>& k) {
    return Tensor::from(k, {static_cast<int64_t>(k.size())});
}

}  // namespace

TEST_CASE("dropout with p = 0 is the tensor itself and leaves nothing on the tape") {
    Tensor x = random({3, 20});
    set_requires_grad(x);
    const int64_t before = tape_length();
    const Tensor y = dropout(x, {});
    CHECK(y.raw() == x.raw());
    CHECK(tape_length() == before);
}

TEST_CASE("a row's mask follows its key, not its place in the batch") {
    const Tensor x = Tensor::full({4, 83}, 1.0);
    DropoutKey key{
        .p = 0.4F, .seed = 9, .purpose = purpose_hash("dropout.test"), .step = 3, .row_keys = keys({5, 6, 7, 8})};
    const std::vector<double> all = kernels::dropout(x, key).values();
    key.row_keys = keys({8, 5});
    const std::vector<double> two = kernels::dropout(x.slice(0, 0, 2), key).values();
    CHECK(std::equal(two.begin(), two.begin() + 83, all.begin() + 3 * 83));
    CHECK(std::equal(two.begin() + 83, two.end(), all.begin()));
    CHECK_FALSE(std::equal(two.begin(), two.begin() + 83, all.begin()));

    std::vector<float> row(83, 1.0F);
    kernels::dropout_row(key, 1, row.data(), row.data(), 83);  // in place
    CHECK(std::equal(row.begin(), row.end(), all.begin()));
}

TEST_CASE("step, seed and purpose each change the mask; the share of what is dropped is p") {
    const Tensor x = Tensor::full({16, 4096}, 1.0);
    std::vector<int64_t> k(16);
    for (size_t i = 0; i < k.size(); ++i) k[i] = static_cast<int64_t>(i);
    const DropoutKey key{.p = 0.1F, .seed = 9, .purpose = 1, .step = 3, .row_keys = keys(k)};
    const std::vector<double> first = kernels::dropout(x, key).values();
    for (int change = 0; change < 3; ++change) {
        DropoutKey other = key;
        if (change == 0) ++other.step;
        if (change == 1) other.seed += uint64_t{1} << 32;
        if (change == 2) ++other.purpose;
        CHECK(kernels::dropout(x, other).values() != first);
    }
    const auto dropped = static_cast<double>(std::count(first.begin(), first.end(), 0.0));
    CHECK(dropped / 65536 == doctest::Approx(0.1).epsilon(0.05));  // 4 standard deviations
}

TEST_CASE("an element is kept for p up to its uniform number, and dropped just above") {
    const Tensor x = Tensor::full({1, 40}, 1.0);
    const Philox rng(9, 1U, 3U);
    for (const uint64_t column : {0, 1, 5, 17, 38}) {
        const float u = rng.uniform((uint64_t{12} << 20) + column);
        DropoutKey key{.p = u, .seed = 9, .purpose = 1, .step = 3, .row_keys = keys({12})};
        CHECK(kernels::dropout(x, key).values()[column] > 0);
        key.p = std::nextafter(u, 1.0F);
        CHECK(kernels::dropout(x, key).values()[column] == 0);
    }
}

TEST_CASE("dropout refuses a bad p and missing keys") {
    const Tensor x = random({3, 20});
    CHECK_THROWS_AS(dropout(x, {.p = 1}), UsageError);
    CHECK_THROWS_AS(dropout(x, {.p = -0.1F}), UsageError);
    CHECK_THROWS_AS(dropout(x, {.p = NAN}), UsageError);
    CHECK_THROWS_AS(dropout(x, {.p = 0.5F}), ShapeError);
    CHECK_THROWS_AS(dropout(x, {.p = 0.5F, .row_keys = keys({1, 2})}), ShapeError);
}
