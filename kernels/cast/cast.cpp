#include "kernels/cast/cast.h"

#include "kernels/cast/cast_body.h"
#include "kernels/common/convert.h"
#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"

namespace wavllm::kernels {

namespace {

template <class From, class To>
Tensor convert(const Tensor& x) {
    const Device device = x.device();
    Tensor y = Tensor::empty(x.shape(), DTypeOf<To>::value, device);
    if (device != Device::cpu) {
        on(cast_body, device)(x.device_raw(), x.dtype(), y.mutable_device_raw(), y.dtype(), x.numel());
        return y;
    }
    const From* px = x.data<From>();
    To* py = y.mutable_data<To>();
    parallel_for(x.numel(), 1 << 14,
                 [=](int64_t begin, int64_t end) { convert_row(px + begin, py + begin, end - begin); });
    return y;
}

[[maybe_unused]] const bool converts = (device_copies().convert = cast, true);

}  // namespace

Tensor cast(const Tensor& x, DType dtype) {
    expect("cast", "x", x, x.dtype(), x.device());
    if (x.dtype() == DType::f32 && dtype == DType::bf16) return convert<float, bf16>(x);
    if (x.dtype() == DType::f32 && dtype == DType::f16) return convert<float, f16>(x);
    if (x.dtype() == DType::bf16 && dtype == DType::f32) return convert<bf16, float>(x);
    if (x.dtype() == DType::f16 && dtype == DType::f32) return convert<f16, float>(x);
    throw DTypeError("cast: {} to {}; expected f32 to bf16 or f16, or one of them to f32", x.describe(), name(dtype));
}

}  // namespace wavllm::kernels
