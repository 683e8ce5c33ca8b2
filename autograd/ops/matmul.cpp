#include "autograd/ops/matmul.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/matmul/matmul.h"

namespace wavllm {

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_b, DType products) {
    return record("matmul", kernels::matmul(a, b, transpose_b, products), {&a, &b}, [&] {
        return [a = Saved::when(requires_grad(b), a), b = Saved::when(requires_grad(a), b), transpose_b,
                products](Backward& back) {
            if (back.wants(0)) back.add(0, kernels::matmul_backward_a(back.dy(), b.get(), transpose_b, products));
            if (back.wants(1))
                kernels::matmul_backward_b(back.dy(), a.get(), transpose_b, back.accumulate(1), products);
        };
    });
}

DERIVATIVE(matmul) {
    return matmul(in[0], in[1], p.flag("transpose_b"), p.flag("bf16") ? DType::bf16 : DType::f32);
}

}  // namespace wavllm
