#include "kernels/silu/silu.h"

#include "kernels/common/loops.h"

namespace wavllm::kernels {

Tensor silu(const Tensor& x) {
    expect("silu", "x", x);
    Tensor y = Tensor::empty(x.shape());
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    for_elements(x.numel(), [=](int64_t i, auto n) {
        const vf v = load(px + i, n);
        store(py + i, v * sigmoid(v), n);
    });
    return y;
}

Tensor silu_backward(const Tensor& dy, const Tensor& x) {
    expect("silu backward", "x", x);
    expect("silu backward", "dy", dy, x.shape());
    Tensor dx = Tensor::empty(x.shape());
    const float *px = x.data<float>(), *pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_elements(x.numel(), [=](int64_t i, auto n) {
        const vf v = load(px + i, n), s = sigmoid(v);
        store(pdx + i, load(pdy + i, n) * (s * fma(v, 1.0f - s, broadcast(1.0f))), n);
    });
    return dx;
}

}  // namespace wavllm::kernels
