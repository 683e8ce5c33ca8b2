#include "kernels/common/op_case.h"
#include "kernels/embedding/embedding.h"

namespace wavllm {

namespace {

/// Random bytes as blocks of a frozen format, with scales (and minimums) that are ordinary f16 numbers.
Tensor random_blocks(const Shape& shape, DType dtype) {
    Tensor t = Tensor::empty(shape, dtype);
    const Tensor bytes = random_ids({static_cast<int64_t>(t.bytes())}, 256);
    auto* p = static_cast<uint8_t*>(t.mutable_raw());
    for (int64_t i = 0; i < bytes.numel(); ++i) p[i] = static_cast<uint8_t>(bytes.data<int32_t>()[i]);
    const auto block = static_cast<size_t>(info(dtype).block_bytes), headers = dtype == DType::q4_1 ? 2UL : 1UL;
    for (size_t at = 0; at < t.bytes(); at += block)
        for (size_t h = 0; h < headers; ++h) {
            const f16 value = to_f16(h == 0 ? 0.01f + 1e-4f * p[at + 1] : -0.05f);
            std::memcpy(p + at + 2 * h, &value, sizeof value);
        }
    return t;
}

void fill_functions(Op& op) {
    op.forward = [](Inputs in, const Params&) { return kernels::embedding(in[0], in[1]); };
}

}  // namespace

OP_CASES(embedding) {
    op.same_bits = true;
    fill_functions(op);
    op.add({.name = "f32", .inputs = {random({9, 7}), random_ids({5}, 9)}});
    op.add({.name = "one id again and again", .inputs = {random({3, 70}), Tensor::full({6}, 1, DType::i32)}});
    op.add({.name = "no ids", .inputs = {random({3, 7}), Tensor::empty({0}, DType::i32)}});
    op.add({.name = "640 ids of 4096x576",
            .inputs = {random({4096, 576}), random_ids({640}, 4096)},
            .bytes = 640 * 576 * 8.0,
            .bench = true});
}

/// Tables that hold no f32: looked up, never trained.
OP_CASES(embedding_frozen) {
    op.same_bits = true;
    fill_functions(op);
    op.has_gradient = false;
    op.add({.name = "bf16", .inputs = {random({5, 20}).to(DType::bf16), random_ids({6}, 5)}});
    op.add({.name = "f16", .inputs = {random({5, 20}).to(DType::f16), random_ids({6}, 5)}});
    op.add({.name = "q8_0", .inputs = {random_blocks({5, 64}, DType::q8_0), random_ids({6}, 5)}});
    op.add({.name = "q4_1", .inputs = {random_blocks({5, 64}, DType::q4_1), random_ids({6}, 5)}});
    op.add({.name = "640 ids of 4096x576 q4_1",
            .inputs = {random_blocks({4096, 576}, DType::q4_1), random_ids({640}, 4096)},
            .bytes = 640 * 576 * (4 + 0.625),
            .bench = true});
}

}  // namespace wavllm
