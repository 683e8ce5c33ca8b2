// Quantised weights. Witness: the bounds of the formats' definitions, worked out for each element in float64, and
// dequantize() of tensor/dtype.h for what comes back.

#include "tensor/quantize.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/gemm/gemm_blocks.h"
#include "kernels/linear/packed_weight.h"
#include "tensor/philox.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;

namespace {

constexpr DType kFormats[] = {DType::int8, DType::q8_0, DType::q4_1, DType::q4_0};

/// [n, k] with rows of very different sizes, offsets and shapes; every seventh is all zero.
Tensor weights(int64_t n, int64_t k) {
    Tensor w = Tensor::empty({n, k});
    const Philox rng(5, "quantize", 0);
    for (int64_t r = 0; r < n; ++r) {
        const double size = r % 7 == 6 ? 0 : std::exp2(static_cast<double>(r % 23) - 14),
                     offset = (r % 3 - 1) * size * (r % 5);
        for (int64_t i = 0; i < k; ++i)
            w.mutable_data<float>()[r * k + i] =
                static_cast<float>(size * rng.normal(static_cast<uint64_t>(r * k + i)) + offset);
    }
    return w;
}

Tensor through(const Tensor& w, DType dtype) {
    Tensor blocks = Tensor::empty(w.shape(), dtype);
    const auto k = static_cast<size_t>(w.dim(1));
    for (int64_t r = 0; r < w.dim(0); ++r)
        quantize_row(dtype, w.data<float>() + r * w.dim(1), k,
                     static_cast<char*>(blocks.mutable_raw()) + static_cast<size_t>(r) * bytes_for(dtype, k), "w");
    return blocks;
}

}  // namespace

TEST_CASE("quantize: every weight within half a step of its group's scale") {
    constexpr int64_t n = 60, k = 96;
    const Tensor w = weights(n, k);
    for (const DType dtype : kFormats) {
        const Tensor back = through(w, dtype).to(DType::f32);
        const int64_t group = dtype == DType::int8 ? k : 32;
        for (int64_t g = 0; g < n * k / group; ++g) {
            const float *x = w.data<float>() + g * group, *y = back.data<float>() + g * group;
            const auto [low, high] = std::minmax_element(x, x + group);
            const double size = std::max(std::abs(*low), std::abs(*high));
            // the scale of exact arithmetic, and what f16 (11 bits, not below 2^-24) may add to it
            const double step = dtype == DType::q4_1   ? (*high - *low + size * 0x1p-10) / 15
                                : dtype == DType::q4_0 ? size / 8
                                                       : size / 127;
            const double d = std::max(step * (1 + 0x1p-10) + 0x1p-24, dtype == DType::q4_1 ? size * 0x1p-16 : 0);
            for (int64_t i = 0; i < group; ++i) {
                CAPTURE(name(dtype));
                CAPTURE(g);
                CAPTURE(x[i]);
                CAPTURE(y[i]);
                // q4_0 has 8 steps on one side and 7 on the other
                const double allowed = dtype == DType::q4_0 && double{x[i]} * y[i] > 0 && std::abs(y[i]) > 6.9 * step
                                           ? d
                                           : d / 2 + size * 0x1p-22;
                REQUIRE(std::abs(double{x[i]} - double{y[i]}) <= allowed + 8 * 0x1p-24);
            }
        }
    }
}

TEST_CASE("quantize: what the formats hold exactly comes back exactly") {
    std::vector<float> x(64);
    const auto check = [&](DType dtype) {
        const Tensor w = Tensor::from(x, {1, 64});
        CHECK(through(w, dtype).to(DType::f32).values() == w.values());
    };
    for (int i = 0; i < 64; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i * 4 - 127) / 512;
    x[63] = 127.0f / 512;
    check(DType::int8);
    for (int i = 0; i < 32; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i * 8 - 127) / 64, x[31] = 127.0f / 64;
    check(DType::q8_0);
    for (int i = 0; i < 64; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i % 16 - 3) / 32;
    check(DType::q4_1);
    for (int i = 0; i < 64; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i % 16 - 8) / (i < 32 ? 32.0f : -32.0f);
    check(DType::q4_0);
    std::fill(x.begin(), x.end(), 0.0f);
    for (const DType dtype : kFormats) check(dtype);
    std::fill(x.begin(), x.end(), -0.625f);
    check(DType::q4_1);
}

TEST_CASE("quantize: int8 has one scale a row, the blocks' formats one a block") {
    std::vector<float> x(64, 0.001f);
    x[40] = 1.27f;
    const Tensor w = Tensor::from(x, {1, 64});
    CHECK(through(w, DType::int8).to(DType::f32).values()[0] == 0);
    CHECK(std::abs(through(w, DType::q8_0).to(DType::f32).values()[0] - 0.001) < 4e-6);
    const auto scale = [](const Tensor& t, size_t at) {
        f16 d;
        std::memcpy(&d, static_cast<const char*>(t.raw()) + at, 2);
        return to_f32(d);
    };
    const Tensor rows = through(w, DType::int8);
    CHECK(scale(rows, 0) == scale(rows, 34));
    CHECK(scale(rows, 0) >= 0.01f);
    CHECK(scale(rows, 0) < 0.01f * (1 + 0x1p-10f));
}

TEST_CASE("quantize: the panels of products take whatever comes out") {
    for (const int64_t k : {32, 160}) {
        const Tensor w = weights(200, k);
        for (const DType dtype : {DType::q8_0, DType::q4_1})
            CHECK(kernels::fits_block_panels(dtype, through(w, dtype).raw(), k, 200));
    }
    // large and nearly equal, where m - 256 d would need the most bits
    std::vector<float> x(32, 60000.0f);
    x[7] = 60001.0f;
    x[8] = std::nextafter(60000.0f, 0.0f);
    const Tensor w = Tensor::from(x, {1, 32});
    CHECK(kernels::fits_block_panels(DType::q4_1, through(w, DType::q4_1).raw(), 32, 1));
}

TEST_CASE("quantize: q4_0 as q4_1 has the same values") {
    const Tensor w = weights(40, 64), q4_0 = through(w, DType::q4_0);
    Tensor q4_1 = Tensor::empty(w.shape(), DType::q4_1);
    widen_q4_0(q4_0.raw(), q4_1.mutable_raw(), 80);
    CHECK(q4_1.to(DType::f32).values() == q4_0.to(DType::f32).values());
}

TEST_CASE("quantize: packed weights hold the values, whatever they were made from") {
    const Tensor w = weights(70, 64);
    for (const DType dtype : kFormats) {
        CAPTURE(name(dtype));
        const Tensor blocks = through(w, dtype);
        const std::vector<double> expected = blocks.to(DType::f32).to(DType::bf16).values();  // what is multiplied
        const PackedWeight packed = PackedWeight::pack(w, dtype);
        CHECK(packed.storage() == (dtype == DType::q8_0 || dtype == DType::int8 ? DType::q8_0 : DType::q4_1));
        CHECK(packed.dtype() == DType::bf16);
        CHECK(packed.unpack().values() == expected);
        CHECK(PackedWeight::pack(blocks, dtype).unpack().values() == expected);
        const PackedWeight from_rows = PackedWeight::from_rows(
            70, 64, dtype, Device::cpu,
            [&](int64_t row, float* to) { std::copy_n(w.data<float>() + row * 64, 64, to); }, "w");
        CHECK(from_rows.stored().bytes() == packed.stored().bytes());
        CHECK(std::memcmp(from_rows.stored().raw(), packed.stored().raw(), packed.bytes()) == 0);
    }
    const auto row = [&](int64_t r, float* to) { std::copy_n(w.data<float>() + r * 64, 64, to); };
    for (const DType dtype : {DType::f32, DType::bf16})
        CHECK(PackedWeight::from_rows(70, 64, dtype, Device::cpu, row).unpack().values() ==
              PackedWeight::pack(w, dtype).unpack().values());
}

TEST_CASE("quantize: refusals name the weight and the way out") {
    Tensor w = Tensor::zeros({2, 32});
    w.set_label("blk.3.ffn_up.weight");
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 70000.0f})
        for (const DType dtype : kFormats) {
            w.mutable_data<float>()[37] = bad;
            const std::string message = tests::message_of<UsageError>([&] { PackedWeight::pack(w, dtype); });
            CHECK(message.find("blk.3.ffn_up.weight") != std::string::npos);
            CHECK(message.find("not finite") != std::string::npos);
        }
    const std::string odd = tests::message_of<ShapeError>([] {
        PackedWeight::pack(Tensor::zeros({4, 48}), DType::q4_1);
    });
    CHECK(odd.find("blocks of 32") != std::string::npos);
    CHECK(odd.find("bf16") != std::string::npos);
    CHECK_THROWS_AS(quantize_row(DType::bf16, w.data<float>(), 32, w.mutable_raw(), ""), DTypeError);
}
