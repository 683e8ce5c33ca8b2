#include "kernels/scalar_mul/scalar_mul.h"

#include "kernels/common/loops.h"
#include "kernels/scale/scale.h"

namespace wavllm::kernels {

Tensor scalar_mul(const Tensor& x, const Tensor& s) {
    expect("scalar_mul", "s", s, {1});
    return scale(x, s.data<float>()[0]);
}

void scalar_mul_backward_s(const Tensor& dy, const Tensor& x, Tensor& ds) {
    expect("scalar_mul backward", "x", x);
    expect("scalar_mul backward", "dy", dy, x.shape());
    expect("scalar_mul backward", "ds", ds, {1});
    const int64_t rows = x.rows(), d = x.shape().last();
    Tensor dots = workspace({rows});
    const float *px = x.data<float>(), *pdy = dy.data<float>();
    float* pd = dots.mutable_data<float>();
    for_rows(rows, d, [=](int64_t row) {
        vf products{};
        for_lanes(d, [&](int64_t i, auto n) {
            products = fma(load(px + row * d + i, n), load(pdy + row * d + i, n), products);
        });
        pd[row] = sum(products);
    });
    float& total = ds.mutable_data<float>()[0];
    for (int64_t row = 0; row < rows; ++row) total += pd[row];
}

}  // namespace wavllm::kernels
