#include "kernels/softmax/softmax.h"

#include "kernels/common/loops.h"

namespace wavllm::kernels {

namespace {

/// v with `fill` in the lanes past the end of the row.
template <class Lanes>
WAVLLM_INLINE vf past_end(vf v, float fill, Lanes n) {
    if constexpr (std::is_same_v<Lanes, int64_t>)
        for (int64_t i = n; i < kLanes; ++i) v[i] = fill;
    return v;
}

}  // namespace

Tensor softmax(const Tensor& x) {
    expect("softmax", "x", x);
    const int64_t c = x.shape().last();
    if (c == 0) throw ShapeError("softmax: x has no columns: {}", x.describe());
    Tensor y = Tensor::empty(x.shape());
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    for_rows(x.rows(), c, [=](int64_t row) {
        const float* xr = px + row * c;
        float* yr = py + row * c;
        const float lowest = -__builtin_inff();
        vf largest = broadcast(lowest);
        for_lanes(c, [&](int64_t i, auto n) { largest = vmax(past_end(load(xr + i, n), lowest, n), largest); });
        const vf m = broadcast(max(largest));
        vf total{};
        for_lanes(c, [&](int64_t i, auto n) {
            const vf e = past_end(exp(load(xr + i, n) - m), 0.0f, n);
            total += e;
            store(yr + i, e, n);
        });
        const vf inverse = broadcast(1.0f / sum(total));
        for_lanes(c, [&](int64_t i, auto n) { store(yr + i, load(yr + i, n) * inverse, n); });
    });
    return y;
}

Tensor softmax_backward(const Tensor& dy, const Tensor& y) {
    expect("softmax backward", "y", y);
    expect("softmax backward", "dy", dy, y.shape());
    const int64_t c = y.shape().last();
    Tensor dx = Tensor::empty(y.shape());
    const float *py = y.data<float>(), *pdy = dy.data<float>();
    float* pdx = dx.mutable_data<float>();
    for_rows(y.rows(), c, [=](int64_t row) {
        const float *yr = py + row * c, *dyr = pdy + row * c;
        float* dxr = pdx + row * c;
        vf products{};
        for_lanes(c, [&](int64_t i, auto n) { products = fma(load(yr + i, n), load(dyr + i, n), products); });
        const vf mean = broadcast(sum(products));
        for_lanes(c, [&](int64_t i, auto n) { store(dxr + i, load(yr + i, n) * (load(dyr + i, n) - mean), n); });
    });
    return dx;
}

}  // namespace wavllm::kernels
