// Vector conversions against the scalar ones of tensor/dtype.h: every 16-bit pattern one way, hard f32 patterns (ties,
// NaN, infinities, subnormals) the other.

#include "kernels/cast/cast.h"

#include <doctest/doctest.h>

#include <bit>

#include "kernels/common/convert.h"
#include "tensor/philox.h"

using namespace wavllm;

namespace {

template <class Half, class Narrow>
void check_all(Narrow narrow) {
    std::vector<Half> half(65536);
    for (uint32_t i = 0; i < 65536; ++i) half[i].bits = static_cast<uint16_t>(i);
    std::vector<float> wide(65536);
    kernels::convert_row(half.data(), wide.data(), 65536);
    int64_t wrong = 0;
    for (uint32_t i = 0; i < 65536; ++i) {
        const float expected = to_f32(half[i]);
        if (std::isnan(expected) ? !std::isnan(wide[i]) : wide[i] != expected) ++wrong;
    }
    CHECK(wrong == 0);

    // around every 16-bit value and half way to the next, and patterns at random
    std::vector<float> x;
    for (const float v : wide)
        for (const uint32_t nudge : {0U, 1U, 0xFFFU, 0x1000U, 0x1001U, 0x7FFFU, 0x8000U, 0x8001U})
            x.push_back(std::bit_cast<float>(std::bit_cast<uint32_t>(v) + nudge));
    const Philox rng(1, "cast", 0);
    for (uint64_t i = 0; i < 100003; ++i) x.push_back(std::bit_cast<float>(rng.bits(i)));
    std::vector<Half> y(x.size());
    kernels::convert_row(x.data(), y.data(), static_cast<int64_t>(x.size()));
    wrong = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        const Half expected = narrow(x[i]);
        if (std::isnan(x[i]) ? !std::isnan(to_f32(y[i])) : y[i].bits != expected.bits) ++wrong;
    }
    CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("vector conversions agree with the scalar ones") {
    check_all<bf16>([](float v) { return to_bf16(v); });
    check_all<f16>([](float v) { return to_f16(v); });
}

TEST_CASE("cast refuses other pairs") {
    CHECK_THROWS_AS(kernels::cast(Tensor::zeros({4}), DType::i32), DTypeError);
    CHECK_THROWS_AS(kernels::cast(Tensor::zeros({4}, DType::i32), DType::f32), DTypeError);
}
