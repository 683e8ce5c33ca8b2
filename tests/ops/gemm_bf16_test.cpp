// The bf16 product. Witness: the f32 product of the factors rounded to bf16 by tensor/dtype.h, whose chain is the same,
// so every bit must be; and for what f32 does not say (special values, who computes what), hand-made cases.

#include "kernels/gemm/gemm_bf16.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/common/check.h"
#include "kernels/common/op_case.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/gemm/bf16_tile.h"
#include "kernels/linear/linear.h"
#include "kernels/lora_linear/lora_linear.h"
#include "tensor/philox.h"
#include "tensor/thread_pool.h"

using namespace wavllm;
using namespace wavllm::kernels;

namespace {

/// Normal numbers; every 7th row of a matrix is zero, as the gradient of a row that does not count is.
Tensor numbers(const Shape& shape, uint32_t stream) {
    Tensor t = Tensor::empty(shape);
    const Philox rng(7, "gemm_bf16", stream);
    for (int64_t i = 0; i < t.numel(); ++i)
        t.mutable_data<float>()[i] =
            shape.last() && i / shape.last() % 7 == 6 ? 0.0f : rng.normal(static_cast<uint64_t>(i));
    return t;
}

Tensor rounded(const Tensor& t) {
    return t.to(DType::bf16).to(DType::f32);
}

bool same_bits(const Tensor& a, const Tensor& b) {
    return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

struct Sizes {
    int64_t m, k, n;
};

// one element; sizes below a panel; odd K; N that is no multiple of 32; several slices of the chain; several row blocks
constexpr Sizes kSizes[] = {{1, 1, 1},     {1, 3, 40},     {5, 13, 9}, {29, 64, 65},    {14, 31, 32}, {15, 1701, 33},
                            {457, 77, 97}, {20, 30, 1700}, {3, 2, 31}, {640, 128, 100}, {0, 8, 4}};

struct Results {
    Tensor y, dx, dw;
};

Results bf16_results(const Sizes& s) {
    const Tensor x = numbers({s.m, s.k}, 1), w = numbers({s.n, s.k}, 2), dy = numbers({s.m, s.n}, 3);
    const PackedWeight packed = PackedWeight::pack(w, DType::bf16);
    Tensor dw = numbers({s.k, s.n}, 4);  // a sum that is continued
    add_transposed_product_bf16(s.m, x.data<float>(), s.k, dy.data<float>(), s.n, dw.mutable_data<float>());
    return {linear(x, packed), linear_backward_x(dy, packed), dw};
}

Results f32_results(const Sizes& s) {
    const Tensor x = rounded(numbers({s.m, s.k}, 1)), w = rounded(numbers({s.n, s.k}, 2)),
                 dy = rounded(numbers({s.m, s.n}, 3));
    const PackedWeight packed = PackedWeight::pack(w, DType::f32);
    const Tensor dw = numbers({s.k, s.n}, 4);
    Tensor transposed = Tensor::empty({s.n, s.k}), back = Tensor::empty({s.k, s.n});
    transpose(dw.data<float>(), s.k, s.n, transposed.mutable_data<float>());
    linear_backward_w(dy, x, transposed);
    transpose(transposed.data<float>(), s.n, s.k, back.mutable_data<float>());
    return {linear(x, packed), linear_backward_x(dy, packed), back};
}

struct Portable {
    Portable() {
        use_portable_bf16(true);
    }
    ~Portable() {
        use_portable_bf16(false);
    }
};

}  // namespace

TEST_CASE("a bf16 product has the bits of the f32 product of the rounded factors") {
    for (const Sizes& s : kSizes) {
        CAPTURE(s.m);
        CAPTURE(s.k);
        CAPTURE(s.n);
        const Results expected = f32_results(s), own = bf16_results(s);
        CHECK(same_bits(own.y, expected.y));
        CHECK(same_bits(own.dx, expected.dx));
        CHECK(same_bits(own.dw, expected.dw));
        const Portable portable;  // what a CPU without the instruction computes
        const Results other = bf16_results(s);
        CHECK(same_bits(other.y, expected.y));
        CHECK(same_bits(other.dx, expected.dx));
        CHECK(same_bits(other.dw, expected.dw));
    }
}

TEST_CASE("bf16 products have the same bits with 1, 2 and 3 threads") {
    const int before = num_threads();
    for (const Sizes& s : kSizes) {
        set_num_threads(1);
        const Results one = bf16_results(s);
        for (int threads : {2, 3}) {
            set_num_threads(threads);
            const Results more = bf16_results(s);
            CHECK(same_bits(more.y, one.y));
            CHECK(same_bits(more.dx, one.dx));
            CHECK(same_bits(more.dw, one.dw));
        }
    }
    set_num_threads(before);
}

TEST_CASE("a bf16 batch cut into pieces of odd size has the bits of the whole") {
    const Sizes s{61, 45, 70};
    const Tensor x = numbers({s.m, s.k}, 1), w = numbers({s.n, s.k}, 2), dy = numbers({s.m, s.n}, 3);
    const PackedWeight packed = PackedWeight::pack(w, DType::bf16);
    const Tensor y = linear(x, packed), dx = linear_backward_x(dy, packed);
    Tensor whole = Tensor::zeros({s.k, s.n}), pieces = Tensor::zeros({s.k, s.n});
    add_transposed_product_bf16(s.m, x.data<float>(), s.k, dy.data<float>(), s.n, whole.mutable_data<float>());
    const int64_t cuts[] = {0, 1, 4, 33, 61};
    for (int i = 0; i < 4; ++i) {
        const int64_t begin = cuts[i], end = cuts[i + 1];
        CHECK(same_bits(linear(x.slice(0, begin, end), packed), y.slice(0, begin, end)));
        CHECK(same_bits(linear_backward_x(dy.slice(0, begin, end), packed), dx.slice(0, begin, end)));
        add_transposed_product_bf16(end - begin, x.data<float>() + begin * s.k, s.k, dy.data<float>() + begin * s.n,
                                    s.n, pieces.mutable_data<float>());
    }
    CHECK(same_bits(whole, pieces));
}

TEST_CASE("bf16 panels hold the rounded weight, from any source dtype") {
    const Tensor w = numbers({37, 45}, 5);
    CHECK(same_bits(PackedWeight::pack(w, DType::bf16).unpack(), rounded(w)));
    CHECK(same_bits(PackedWeight::pack(w.to(DType::f16), DType::bf16).unpack(),
                    rounded(w.to(DType::f16).to(DType::f32))));
    CHECK(PackedWeight::pack(Tensor::zeros({64, 96}), DType::bf16).bytes() == 64 * 96 * 2);
    CHECK_THROWS_AS(PackedWeight::pack(w, DType::f16), DTypeError);
}

TEST_CASE("infinities and NaN come out of a bf16 product as of any, in their rows alone") {
    const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    const auto check = [&] {
        Tensor x = Tensor::full({4, 33}, 1.0);
        x.mutable_data<float>()[5] = inf;
        x.mutable_data<float>()[33 + 32] = nan;
        x.mutable_data<float>()[66] = inf;
        x.mutable_data<float>()[67] = -inf;
        const Tensor y = linear(x, PackedWeight::pack(Tensor::full({3, 33}, 1.0), DType::bf16));
        for (int64_t n = 0; n < 3; ++n) {
            CHECK(y.data<float>()[n] == inf);
            CHECK(std::isnan(y.data<float>()[3 + n]));
            CHECK(std::isnan(y.data<float>()[6 + n]));
            CHECK(y.data<float>()[9 + n] == 33.0f);
        }
        // the largest f32 rounds up to infinity, and a denormal counts as zero, in x as in w
        CHECK(linear(Tensor::full({1, 1}, 3.4028234e38), PackedWeight::pack(Tensor::full({1, 1}, 1.0), DType::bf16))
                  .item() == inf);
        CHECK(linear(Tensor::full({1, 1}, 1e-39), PackedWeight::pack(Tensor::full({1, 1}, 1e30), DType::bf16)).item() ==
              0.0f);
        CHECK(linear(Tensor::full({1, 1}, 1e30), PackedWeight::pack(Tensor::full({1, 1}, 1e-39), DType::bf16)).item() ==
              0.0f);
    };
    check();
    const Portable portable;
    check();
}

TEST_CASE("frozen_dtype knows f32, bf16 and auto") {
    CHECK(frozen_dtype("f32") == DType::f32);
    CHECK(frozen_dtype("bf16") == DType::bf16);
    CHECK(frozen_dtype("auto") == (bf16_products() ? DType::bf16 : DType::f32));
    CHECK_THROWS_WITH_AS(frozen_dtype("f16"), doctest::Contains("auto"), UsageError);
}

TEST_CASE("every case in bf16 has the same bits in the portable version") {
    int compared = 0;
    for (const char* name : {"linear", "lora_linear", "cross_entropy", "conv1d", "matmul"}) {
        const Op& op = ops().at(name);
        for (const OpCase& c : op.cases) {
            if (!c.params.flag("bf16")) continue;
            CAPTURE(name);
            CAPTURE(c.name);
            const Tensor own = op.forward(c.inputs, c.params);
            const Portable portable;
            CHECK(same_bits(own, op.forward(c.inputs, c.params)));
            ++compared;
        }
    }
    CHECK(compared >= 12);
}
