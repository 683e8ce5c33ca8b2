#include "kernels/common/ladder.h"

#include "kernels/common/on_device.h"
#include "kernels/contiguous/contiguous_body.h"

namespace wavllm {

LADDER(contiguous) {
    ladder.step("naive", "a thread an element, whatever the strides: reads of a transpose lie far apart",
                [](Inputs in, const Params& p) {
                    const int b = static_cast<int>(p.i("b"));
                    const Tensor x = in[0].slice(b, p.i("begin"), p.i("end")).transpose(static_cast<int>(p.i("a")), b);
                    kernels::StridedView view{.rank = x.rank()};
                    for (int i = 0; i < x.rank(); ++i) {
                        view.size[i] = x.dim(i);
                        view.stride[i] = x.stride(i);
                    }
                    Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
                    kernels::on(kernels::contiguous_naive_body, x.device())(
                        x.device_raw(), view, static_cast<int>(info(x.dtype()).block_bytes), y.mutable_device_raw());
                    return y;
                });
    ladder.step("contiguous", "tiles of 32 x 32 turned in shared memory, padded by one column (contiguous.cu)",
                ops().at("contiguous").forward);
}

}  // namespace wavllm
