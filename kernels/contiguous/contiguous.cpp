#include "kernels/contiguous/contiguous.h"

#include "kernels/common/on_device.h"
#include "kernels/contiguous/contiguous_body.h"

namespace wavllm::kernels {

namespace {

void copy_on_device(const Tensor& x, Tensor& y) {
    if (info(x.dtype()).frozen_block)
        throw DTypeError("contiguous: {} is a strided view of blocks; take whole rows of it", x.describe());
    StridedView view{.rank = x.rank()};
    for (int i = 0; i < x.rank(); ++i) {
        view.size[i] = x.dim(i);
        view.stride[i] = x.stride(i);
    }
    on(contiguous_body, x.device())(x.device_raw(), view, info(x.dtype()).block_bytes, y.mutable_device_raw());
}

[[maybe_unused]] const bool copies = (device_copies().contiguous = copy_on_device, true);

}  // namespace

Tensor contiguous(const Tensor& x) {
    if (x.contiguous()) return x.clone();
    return x.to_contiguous();
}

}  // namespace wavllm::kernels
