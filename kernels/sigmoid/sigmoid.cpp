#include "kernels/sigmoid/sigmoid.h"

#include "kernels/common/loops.h"

namespace wavllm::kernels {

Tensor sigmoid(const Tensor& x) {
    expect("sigmoid", "x", x);
    Tensor y = Tensor::empty(x.shape());
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    for_elements(x.numel(), [=](int64_t i, auto n) {
        const vf v = load(px + i, n);
        store(py + i, sigmoid(v), n);
    });
    return y;
}

Tensor sigmoid_backward(const Tensor& dy, const Tensor& x) {
    expect("sigmoid backward", "x", x);
    expect("sigmoid backward", "dy", dy, x.shape());
    Tensor dx = Tensor::empty(x.shape());
    const float *px = x.data<float>(), *pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_elements(x.numel(), [=](int64_t i, auto n) {
        const vf v = load(px + i, n), s = sigmoid(v);
        store(pdx + i, load(pdy + i, n) * (s * (1.0f - s)), n);
    });
    return dx;
}

}  // namespace wavllm::kernels
