// Rotary embedding. Witnesses: the cosines and sines that the reference code computed (golden tables), rotations that
// are known by hand, and the property that makes it useful: scores depend on distance alone.
#include "autograd/ops/rope.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "kernels/common/op_case.h"
#include "models/checkpoint/checkpoint.h"
#include "tests/support/shared.h"

using namespace wavllm;

namespace {

std::vector<float> floats(const Checkpoint& file, const char* name) {
    const StoredTensor& t = file.at(name);
    std::vector<float> v(t.bytes.size() / sizeof(float));
    std::memcpy(v.data(), t.bytes.data(), t.bytes.size());
    return v;
}

Tensor positions(const std::vector<int32_t>& p) {
    return Tensor::from(p, {static_cast<int64_t>(p.size())});
}

}  // namespace

TEST_CASE("rope: the table is that of the reference code") {
    const auto file = open_checkpoint(tests::shared("golden/tables.safetensors"));
    const std::vector<float> cos = floats(*file, "rotary_cos"), sin = floats(*file, "rotary_sin");
    std::vector<int64_t> at(file->at("rotary_positions").bytes.size() / sizeof(int64_t));
    std::memcpy(at.data(), file->at("rotary_positions").bytes.data(), file->at("rotary_positions").bytes.size());
    REQUIRE(cos.size() == at.size() * 4);
    const RopeTable table = make_rope_table(at.back() + 1, 8, 10000);
    for (size_t row = 0; row < at.size(); ++row)
        for (size_t i = 0; i < 4; ++i) {
            CHECK(table.cos.data<float>()[at[row] * 4 + static_cast<int64_t>(i)] ==
                  doctest::Approx(cos[row * 4 + i]).epsilon(1e-7));
            CHECK(table.sin.data<float>()[at[row] * 4 + static_cast<int64_t>(i)] ==
                  doctest::Approx(sin[row * 4 + i]).epsilon(1e-7));
        }
}

TEST_CASE("rope: a quarter turn, by hand, in both layouts") {
    const RopeTable table{Tensor::from<float>({1, 1, 0, 1}, {2, 2}), Tensor::from<float>({0, 0, 1, 0}, {2, 2})};
    const Tensor x = Tensor::from<float>({1, 2, 3, 4, 1, 2, 3, 4}, {2, 1, 4});
    // row 0: position 0, unchanged; row 1: position 1, the first pair (a, b) becomes (-b, a)
    const Tensor p = positions({0, 1});
    CHECK(rope(x, p, table, RopeLayout::half_split).values() == std::vector<double>{1, 2, 3, 4, -3, 2, 1, 4});
    CHECK(rope(x, p, table, RopeLayout::interleaved).values() == std::vector<double>{1, 2, 3, 4, -2, 1, 3, 4});
}

TEST_CASE("rope: scores depend on the distance of two positions alone") {
    const RopeTable table = make_rope_table(300, 64, 100000);
    const Tensor q = random({1, 1, 64}), k = random({1, 1, 64});
    for (const RopeLayout layout : {RopeLayout::half_split, RopeLayout::interleaved}) {
        const auto score = [&](int32_t i, int32_t j) {
            const std::vector<double> a = rope(q, positions({i}), table, layout).values(),
                                      b = rope(k, positions({j}), table, layout).values();
            double sum = 0;
            for (size_t d = 0; d < a.size(); ++d) sum += a[d] * b[d];
            return sum;
        };
        CHECK(score(7, 3) == doctest::Approx(score(295, 291)).epsilon(1e-4));
        CHECK(std::abs(score(7, 3) - score(9, 3)) > 1e-2);
    }
}

TEST_CASE("rope: a view into a fused projection gives the bits of its copy") {
    const RopeTable table = make_rope_table(20, 12, 10000);
    const Tensor fused = random({5, 7, 12}), p = positions({3, 19, 0, 4, 4});
    const Tensor view = fused.slice(1, 2, 5);
    REQUIRE(!view.contiguous());
    for (const RopeLayout layout : {RopeLayout::half_split, RopeLayout::interleaved}) {
        const Tensor a = rope(view, p, table, layout), b = rope(view.to_contiguous(), p, table, layout);
        CHECK(a.contiguous());
        CHECK(std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
    }
}

TEST_CASE("rope: errors") {
    const RopeTable table = make_rope_table(4, 8, 10000);
    const Tensor x = random({2, 1, 8});
    CHECK_THROWS_WITH_AS(rope(x, positions({0, 4}), table, RopeLayout::half_split),
                         "rope: position 4 of row 1 is outside the table of 4 positions; make a longer table",
                         ShapeError);
    CHECK_THROWS_AS(rope(x, positions({-1, 0}), table, RopeLayout::half_split), ShapeError);
    CHECK_THROWS_AS(rope(x, positions({0}), table, RopeLayout::half_split), ShapeError);
    CHECK_THROWS_AS(rope(random({2, 1, 6}), positions({0, 1}), table, RopeLayout::half_split), ShapeError);
    CHECK_THROWS_AS(make_rope_table(4, 7, 10000), ShapeError);
}
