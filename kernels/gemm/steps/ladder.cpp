#include "kernels/common/ladder.h"

#include "kernels/common/on_device.h"
#include "kernels/gemm/steps/steps.h"
#include "kernels/matmul/matmul.h"

namespace wavllm {

LADDER(matmul) {
    ladder.takes = [](const OpCase& c) {
        return c.inputs[0].rank() == 2 && !c.params.flag("transpose_b") && !c.params.flag("bf16");
    };
    for (const kernels::GemmStep& step : kernels::gemm_steps())
        ladder.step(
            step.name, step.idea,
            [body = step.body](Inputs in, const Params&) {
                const Tensor &a = in[0], &b = in[1];
                Tensor c = Tensor::empty({a.dim(0), b.dim(1)}, DType::f32, a.device());
                kernels::on(*body, a.device())(a.device_data<float>(), b.device_data<float>(),
                                               c.mutable_device_data<float>(), a.dim(0), b.dim(1), a.dim(1));
                return c;
            },
            step.rounds);
    ladder.step("matmul, f32", "8 x 8 elements a thread, the next slice on its way (gemm_f32.cu)",
                [](Inputs in, const Params&) { return kernels::matmul(in[0], in[1]); });
    ladder.step(
        "matmul, bf16", "factors rounded to bf16 in memory first, ldmatrix, more buffers (gemm_bf16.cuh)",
        [](Inputs in, const Params&) { return kernels::matmul(in[0], in[1], false, DType::bf16); }, true);
}

}  // namespace wavllm
