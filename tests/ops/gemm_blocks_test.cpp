// Products with weights that stay in the blocks of their file. Witness: the same weight dequantised by tensor/dtype.h
// and packed in pairs (gemm_bf16_test.cpp has its witness); blocks are storage alone, so every bit must be the same.

#include "kernels/gemm/gemm_blocks.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/common/check.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/gemm/bf16_tile.h"
#include "kernels/linear/linear.h"
#include "kernels/lora_linear/lora_linear.h"
#include "tensor/philox.h"
#include "tensor/thread_pool.h"

using namespace wavllm;
using namespace wavllm::kernels;

namespace {

Tensor numbers(const Shape& shape, uint32_t stream) {
    Tensor t = Tensor::empty(shape);
    const Philox rng(11, "gemm_blocks", stream);
    for (int64_t i = 0; i < t.numel(); ++i) t.mutable_data<float>()[i] = rng.normal(static_cast<uint64_t>(i));
    return t;
}

void put_half(uint8_t* p, float value) {
    const f16 h = to_f16(value);
    std::memcpy(p, &h, sizeof h);
}

/// A weight [n, k] as a file has it: random q, d about 0.01, m of both signs; some blocks all zero.
Tensor blocks(DType dtype, int64_t n, int64_t k) {
    Tensor w = Tensor::empty({n, k}, dtype);
    const Philox rng(13, "blocks", 0);
    const int64_t bytes = info(dtype).block_bytes;
    auto* p = static_cast<uint8_t*>(w.mutable_raw());
    for (int64_t b = 0; b < n * k / 32; ++b, p += bytes) {
        for (int64_t i = 0; i < bytes; ++i)
            p[i] = static_cast<uint8_t>(rng.block(static_cast<uint64_t>(b))[static_cast<size_t>(i % 4)] >>
                                        (i / 4 % 4 * 8)) ^
                   static_cast<uint8_t>(37 * i);
        const float size = b % 5 == 4 ? 0.0f : 0.01f;
        put_half(p, size * (1 + std::abs(rng.normal(static_cast<uint64_t>(2 * b)))));
        if (dtype == DType::q4_1)
            put_half(p + 2, size * std::round(8 * rng.normal(static_cast<uint64_t>(2 * b + 1))));
        else if (size == 0)
            std::memset(p, 0, static_cast<size_t>(bytes));
    }
    return w;
}

bool same_bits(const Tensor& a, const Tensor& b) {
    return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

struct Portable {
    Portable() {
        use_portable_bf16(true);
    }
    ~Portable() {
        use_portable_bf16(false);
    }
    Portable(const Portable&) = delete;
    Portable& operator=(const Portable&) = delete;
};

struct Threads {
    explicit Threads(int n) : before(num_threads()) {
        set_num_threads(n);
    }
    ~Threads() {
        set_num_threads(before);
    }
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;
    int before;
};

/// The weight as pairs, and in blocks whatever this CPU would choose.
struct Both {
    Tensor pair_memory, block_memory;
    Panels pairs, in_blocks;

    Both(const Tensor& w)
        : pair_memory(bf16_panel_workspace(w.dim(1), w.dim(0))),
          block_memory(Tensor::empty({panel_elements(w.dim(1), w.dim(0), w.dtype())}, w.dtype())) {
        const Tensor f = w.to(DType::f32);
        pairs = pack_bf16_transposed(f.data<float>(), w.dim(1), w.dim(1), w.dim(0), pair_memory);
        in_blocks = pack_block_panels(w.dtype(), w.raw(), w.dim(1), w.dim(0), block_memory.mutable_raw());
    }
};

struct Products {
    Tensor y, continued, dx;
};

Products products(const Panels& w, int64_t m) {
    const Tensor x = numbers({m, w.k}, 1), dy = numbers({m, w.n}, 2), bias = numbers({w.n}, 3);
    Products p{Tensor::empty({m, w.n}), numbers({m, w.n}, 4), Tensor::empty({m, w.k})};
    gemm(m, x.data<float>(), w.k, w, p.y.mutable_data<float>(), w.n, {.bias = bias.data<float>()});
    gemm(m, x.data<float>(), w.k, w, p.continued.mutable_data<float>(), w.n, {.accumulate = true});
    gemm_transposed(m, dy.data<float>(), w.n, w, p.dx.mutable_data<float>(), w.k);
    return p;
}

void check_same(const Products& a, const Products& b) {
    CHECK(same_bits(a.y, b.y));
    CHECK(same_bits(a.continued, b.continued));
    CHECK(same_bits(a.dx, b.dx));
}

// one panel; N that is no multiple of 32; several panels an item; a chain longer than the scratch
constexpr std::pair<int64_t, int64_t> kWeights[] = {{32, 32}, {40, 64}, {576, 96}, {33, 4096}, {200, 1536}};

}  // namespace

TEST_CASE("blocks: products as with pairs, to the bit") {
    for (const DType dtype : {DType::q4_1, DType::q8_0})
        for (const auto& [n, k] : kWeights) {
            const Tensor w = blocks(dtype, n, k);
            REQUIRE(fits_block_panels(dtype, w.raw(), k, n));
            const Both both(w);
            for (const int64_t m : {0, 1, 2, 3, 4, 5, 17}) {
                CAPTURE(name(dtype));
                CAPTURE(n);
                CAPTURE(k);
                CAPTURE(m);
                const Products expected = products(both.pairs, m);
                check_same(products(both.in_blocks, m), expected);
                const Portable portable;
                check_same(products(both.in_blocks, m), expected);
            }
        }
}

TEST_CASE("blocks: thread counts and pieces of a batch give the same bits") {
    const Tensor w = blocks(DType::q4_1, 576, 96);
    const Both both(w);
    const Tensor x = numbers({23, 96}, 1);
    Tensor whole = Tensor::empty({23, 576});
    gemm(23, x.data<float>(), 96, both.in_blocks, whole.mutable_data<float>(), 576);
    for (const int threads : {1, 2, 3}) {
        const Threads set(threads);
        Tensor y = Tensor::empty({23, 576});
        for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 1}, {1, 4}, {4, 8}, {8, 23}})
            gemm(end - begin, x.data<float>() + begin * 96, 96, both.in_blocks, y.mutable_data<float>() + begin * 576,
                 576);
        CHECK(same_bits(y, whole));
    }
}

TEST_CASE("blocks: a packed weight keeps them, and everything made with it stays the same") {
    const Tensor w = blocks(DType::q4_1, 160, 64), head = blocks(DType::q8_0, 130, 64);
    const PackedWeight kept = PackedWeight::pack(w, DType::bf16),
                       pairs = PackedWeight::pack(w.to(DType::f32), DType::bf16);
    const PackedWeight kept_head = PackedWeight::pack(head, DType::bf16),
                       pairs_head = PackedWeight::pack(head.to(DType::f32), DType::bf16);
    CHECK(kept.dtype() == DType::bf16);
    CHECK(pairs.storage() == DType::bf16);
    if (bf16_products()) {
        CHECK(kept.storage() == DType::q4_1);
        CHECK(kept_head.storage() == DType::q8_0);
        CHECK(kept.bytes() * 16 == pairs.bytes() * 5);  // 5 bits instead of 16
    }
    CHECK(same_bits(kept.unpack(), pairs.unpack()));
    CHECK(same_bits(kept_head.unpack(), pairs_head.unpack()));

    const Tensor x = numbers({9, 64}, 1), a = numbers({64, 8}, 2), b = numbers({8, 160}, 3), dy = numbers({9, 160}, 4);
    LoraScale scale;
    scale.s = 0.5f;
    const LoraForward one = lora_linear(x, kept, a, b, scale, nullptr),
                      two = lora_linear(x, pairs, a, b, scale, nullptr);
    CHECK(same_bits(one.y, two.y));
    Tensor dx_one, dx_two;
    lora_linear_backward(dy, x, one.u, kept, a, b, scale, nullptr, {.dx = &dx_one});
    lora_linear_backward(dy, x, two.u, pairs, a, b, scale, nullptr, {.dx = &dx_two});
    CHECK(same_bits(dx_one, dx_two));

    const std::vector<int32_t> ids = {0, 5, 129, 64, 31, 32, 77, 1, 99};
    const Tensor targets = Tensor::from(ids, {9});
    const RowLosses l1 = cross_entropy(x, kept_head, targets, 0.25f, true),
                    l2 = cross_entropy(x, pairs_head, targets, 0.25f, true);
    CHECK(same_bits(l1.losses, l2.losses));
    CHECK(same_bits(l1.dx, l2.dx));
}

TEST_CASE("blocks: what does not come out exactly is packed in pairs") {
    const auto first_block = [](DType dtype, float d, float m) {
        Tensor w = blocks(dtype, 32, 32);
        auto* p = static_cast<uint8_t*>(w.mutable_raw());
        put_half(p, d);
        if (dtype == DType::q4_1) put_half(p + 2, m);
        return w;
    };
    const float infinity = std::numeric_limits<float>::infinity();
    // 256 d and m are 34 binary places apart
    for (const Tensor& w :
         {first_block(DType::q4_1, 100.0f, 3e-6f), first_block(DType::q4_1, infinity, 0),
          first_block(DType::q4_1, 1, infinity), first_block(DType::q4_1, -0.0f, -0.0f),
          first_block(DType::q8_0, infinity, 0), first_block(DType::q8_0, -0.5f, 0), first_block(DType::q8_0, 0, 0)}) {
        CHECK_FALSE(fits_block_panels(w.dtype(), w.raw(), 32, 32));
        CHECK(PackedWeight::pack(w, DType::bf16).storage() == DType::bf16);
    }
    const Tensor negative = first_block(DType::q4_1, -0.5f, 1);
    CHECK(fits_block_panels(DType::q4_1, negative.raw(), 32, 32));
    // not blocks at all
    CHECK_FALSE(fits_block_panels(DType::f32, negative.raw(), 32, 32));
}

TEST_CASE("blocks: a scaled sum is refused") {
    const Both both(blocks(DType::q4_1, 32, 32));
    const Tensor x = numbers({1, 32}, 1);
    Tensor y = Tensor::zeros({1, 32});
    CHECK_THROWS_WITH_AS(
        gemm(1, x.data<float>(), 32, both.in_blocks, y.mutable_data<float>(), 32, {.add_scaled = true}),
        "gemm: add_scaled with a weight in q4_1 blocks is not supported", Error);
}

TEST_CASE("blocks: several weights on one x are one linear() each") {
    const Tensor q = blocks(DType::q4_1, 96, 64), k = blocks(DType::q4_1, 40, 64), v = blocks(DType::q8_0, 33, 64);
    const PackedWeight a = PackedWeight::pack(q, DType::bf16), b = PackedWeight::pack(k, DType::bf16),
                       c = PackedWeight::pack(v, DType::bf16), plain = PackedWeight::pack(k.to(DType::f32));
    const auto check = [](const Tensor& x, std::array<const PackedWeight*, 3> weights) {
        std::array<Tensor, 3> y;
        linear_together(x, weights, y);
        for (size_t i = 0; i < 3; ++i) CHECK(same_bits(y[i], linear(x, *weights[i])));
    };
    for (const int64_t rows : {0, 1, 4, 5, 40}) {
        check(numbers({rows, 64}, 1), {&a, &b, &c});
        check(numbers({rows, 64}, 1), {&a, &plain, &c});
    }
    std::array<Tensor, 2> two;
    CHECK_THROWS_AS(linear_together(numbers({1, 64}, 1), std::array{&a, &b, &c}, two), ShapeError);
    std::array<Tensor, 3> three;
    CHECK_THROWS_AS(linear_together(numbers({1, 32}, 1), std::array{&a, &b, &c}, three), ShapeError);
}
