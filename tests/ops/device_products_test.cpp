// Products on devices beyond their cases: weights in blocks, and sizes that take the large tiles. Witnesses: the same weight
// rounded to bf16, and the CPU.

#include "kernels/linear/linear.h"
#include "kernels/matmul/matmul.h"
#include "tests/ops/block_weights.h"
#include "tests/ops/device_support.h"

using namespace wavllm;
using namespace wavllm::tests;

TEST_CASE("device products: weights in blocks are multiplied as if they had been rounded to bf16") {
    for (const Device device : test_devices())
        for (const bool checked : {false, true}) {
            const SimScope scope(checked, 1);
            for (const DType dtype : {DType::q4_1, DType::q8_0})
                for (const int64_t k : {32, 96, 192, 256, 896}) {
                    const std::string which(name(dtype));
                    CAPTURE(which);
                    CAPTURE(k);
                    const int64_t n = 70;
                    const Tensor w = in_blocks_of(dtype, n, k);
                    const PackedWeight blocks = PackedWeight::pack(w, DType::bf16, device),
                                       plain = PackedWeight::pack(w.to(DType::f32), DType::bf16, device);
                    CHECK(blocks.storage() == dtype);
                    for (const int64_t rows : {1, 40}) {
                        const Tensor x = random({rows, k}).to(device), dy = random({rows, n}).to(device);
                        CHECK(same_bits(kernels::linear(x, blocks), kernels::linear(x, plain)));
                        CHECK(same_bits(kernels::linear_backward_x(dy, blocks), kernels::linear_backward_x(dy, plain)));
                    }
                    const Tensor x = random({3, k});  // the blocks themselves, widened to f32
                    CHECK(same_bits(kernels::linear(x.to(device), w.to(device)), kernels::linear(x, w)));
                }
        }
}

TEST_CASE("device products: large ones use the large tiles and give the same") {
    const SimScope scope(true, 4);
    const Tensor a = random({1030, 64}), b = random({64, 1032}), dc = random({1030, 1032});
    for (const Device device : test_devices()) {
        const Tensor there = a.to(device);
        CHECK(same_bits(kernels::matmul(there, b.to(device)), kernels::matmul(a, b)));
        CHECK(difference(kernels::matmul(there, b.to(device), false, DType::bf16),
                         kernels::matmul(a, b, false, DType::bf16)) <= 1e-6);
        for (const DType products : {DType::f32, DType::bf16}) {
            Tensor db = Tensor::zeros({64, 1032}), device_db = db.to(device);
            kernels::matmul_backward_b(dc, a, false, db, products);
            kernels::matmul_backward_b(dc.to(device), there, false, device_db, products);
            CHECK(difference(device_db, db) <= 1e-6);
        }
        for (const DType dtype : {DType::q4_1, DType::q8_0}) {
            const Tensor w = in_blocks_of(dtype, 1032, 64), back = in_blocks_of(dtype, 64, 1056);
            const auto in_bf16 = [&](const Tensor& t) {
                return PackedWeight::pack(t.to(DType::f32), DType::bf16, device);
            };
            CHECK(same_bits(kernels::linear(there, PackedWeight::pack(w, DType::bf16, device)),
                            kernels::linear(there, in_bf16(w))));
            CHECK(same_bits(kernels::linear_backward_x(there, PackedWeight::pack(back, DType::bf16, device)),
                            kernels::linear_backward_x(there, in_bf16(back))));
        }
    }
}
