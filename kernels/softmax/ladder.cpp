#include "kernels/common/ladder.h"

#include "kernels/common/on_device.h"
#include "kernels/softmax/softmax.h"
#include "kernels/softmax/softmax_body.h"

namespace wavllm {

LADDER(softmax) {
    const auto by = [](const CudaBody<kernels::SoftmaxForward>& body) {
        return [&body](Inputs in, const Params&) {
            const Tensor& x = in[0];
            Tensor y = Tensor::empty(x.shape(), DType::f32, x.device());
            kernels::on(body, x.device())(x.device_data<float>(), y.mutable_device_data<float>(), x.rows(),
                                          x.shape().last());
            return y;
        };
    };
    ladder.step("naive", "a thread a row: neighbouring threads read far apart", by(kernels::softmax_naive_body));
    ladder.step("better", "a block a row: reads side by side, but three passes", by(kernels::softmax_better_body));
    ladder.step("softmax", "a warp a row, a running maximum, 16 bytes a load (softmax.cu)",
                [](Inputs in, const Params&) { return kernels::softmax(in[0]); });
}

}  // namespace wavllm
