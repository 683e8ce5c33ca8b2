#include "kernels/common/op_case.h"
#include "kernels/matmul/matmul.h"

namespace wavllm {

OP_CASES(matmul) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params& p) {
        return kernels::matmul(in[0], in[1], p.flag("transpose_b"), p.flag("bf16") ? DType::bf16 : DType::f32);
    };
    const auto one = [&](const char* name, const Shape& a, const Shape& b, bool t, bool bench = false) {
        const double flops = 2.0 * static_cast<double>(a.numel() * b[t ? -2 : -1]);
        op.add({.name = name,
                .inputs = {random(a), random(b)},
                .params = {{"transpose_b", t}},
                .bytes = 4.0 * static_cast<double>(a.numel() + b.numel()),
                .flops = flops,
                .bench = bench});
    };
    one("odd sizes", {3, 5}, {5, 7}, false);
    one("transposed", {3, 5}, {7, 5}, true);
    one("batched", {2, 3, 17, 20}, {2, 3, 20, 40}, false);
    one("batched, transposed", {3, 17, 20}, {3, 40, 20}, true);
    one("LoRA rank", {40, 64}, {64, 16}, false);
    const auto in_bf16 = [&](const char* name, const Shape& a, const Shape& b, bool t) {
        // inputs that are bf16 already: the result is as near as in f32; in gradients each dc is off by at most 2^-9
        op.add({.name = name,
                .inputs = {random(a).to(DType::bf16).to(DType::f32), random(b).to(DType::bf16).to(DType::f32)},
                .params = {{"transpose_b", t}, {"bf16", 1}},
                .gradient_tolerance = 0x1p-9});
    };
    in_bf16("bf16, odd sizes", {13, 35}, {35, 41}, false);
    in_bf16("bf16, batched, transposed", {3, 17, 20}, {3, 40, 20}, true);
    one("640x576x32", {640, 576}, {576, 32}, false, true);
    one("256x256x256", {256, 256}, {256, 256}, false, true);
    one("1024x1024x1024", {1024, 1024}, {1024, 1024}, false, true);
    one("2048x2048x2048", {2048, 2048}, {2048, 2048}, false, true);
}

}  // namespace wavllm
