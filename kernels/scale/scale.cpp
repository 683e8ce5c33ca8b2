#include "kernels/scale/scale.h"

#include "kernels/common/loops.h"

namespace wavllm::kernels {

Tensor scale(const Tensor& x, float s) {
    expect("scale", "x", x);
    Tensor y = Tensor::empty(x.shape());
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    for_elements(x.numel(), [=](int64_t i, auto n) { store(py + i, load(px + i, n) * s, n); });
    return y;
}

}  // namespace wavllm::kernels
