#include "kernels/mul/mul.h"

#include "kernels/common/loops.h"

namespace wavllm::kernels {

Tensor mul(const Tensor& a, const Tensor& b) {
    expect("mul", "a", a);
    expect("mul", "b", b, a.shape());
    Tensor y = Tensor::empty(a.shape());
    const float *pa = a.data<float>(), *pb = b.data<float>();
    float* py = y.mutable_data<float>();
    for_elements(a.numel(), [=](int64_t i, auto n) { store(py + i, load(pa + i, n) * load(pb + i, n), n); });
    return y;
}

}  // namespace wavllm::kernels
