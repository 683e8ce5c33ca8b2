#pragma once
// Dropout in double, one number of the scalar generator an element.

#include "kernels/common/f64.h"
#include "kernels/dropout/dropout.h"
#include "tensor/philox.h"

namespace wavllm::kernels::f64 {

inline Tensor dropout(const Tensor& x, const DropoutKey& key) {
    const In px("dropout", "x", x);
    const int64_t d = px.columns();
    expect_dropout_key("dropout", key, px.rows(), d);
    const Philox rng(key.seed, key.purpose, key.step);
    if (key.p == 0) return x;
    Tensor y = zeros(x.shape());
    double* py = y.mutable_data<double>();
    for (int64_t row = 0; row < px.rows(); ++row)
        for (int64_t i = 0; i < d; ++i) {
            const auto row_key = static_cast<uint64_t>(key.row_keys.data<int64_t>()[row]);
            const uint64_t index = (row_key << 20) + static_cast<uint64_t>(i);
            if (rng.uniform(index) >= key.p) py[row * d + i] = px[row * d + i] / (1.0 - key.p);
        }
    return y;
}

}  // namespace wavllm::kernels::f64
