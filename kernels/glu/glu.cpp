#include "kernels/glu/glu.h"

#include "kernels/common/loops.h"

namespace wavllm::kernels {

Tensor glu(const Tensor& x) {
    expect("glu", "x", x);
    if (x.rank() == 0 || x.shape().last() % 2 != 0)
        throw ShapeError("glu: x must have an even number of columns, but is {}", x.describe());
    const int64_t c = x.shape().last() / 2;
    Tensor y = Tensor::empty(x.shape().with(-1, c));
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    for_rows(x.rows(), 2 * c, [=](int64_t row) {
        const float *a = px + row * 2 * c, *b = a + c;
        float* out = py + row * c;
        for_lanes(c, [&](int64_t i, auto n) { store(out + i, load(a + i, n) * sigmoid(load(b + i, n)), n); });
    });
    return y;
}

Tensor glu_backward(const Tensor& dy, const Tensor& x) {
    expect("glu backward", "x", x);
    const int64_t c = x.shape().last() / 2;
    expect("glu backward", "dy", dy, x.shape().with(-1, c));
    Tensor dx = Tensor::empty(x.shape());
    const float *px = x.data<float>(), *pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_rows(x.rows(), 2 * c, [=](int64_t row) {
        const float *a = px + row * 2 * c, *b = a + c, *d = pdy + row * c;
        float *da = pdx + row * 2 * c, *db = da + c;
        for_lanes(c, [&](int64_t i, auto n) {
            const vf s = sigmoid(load(b + i, n)), dv = load(d + i, n);
            store(da + i, dv * s, n);
            store(db + i, dv * load(a + i, n) * (s * (1.0f - s)), n);
        });
    });
    return dx;
}

}  // namespace wavllm::kernels
