#pragma once
// Sums of all elements in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor sum_all(const Tensor& x) {
    const In px("sum_all", "x", x);
    double sum = 0;
    for (int64_t i = 0; i < x.numel(); ++i) sum += px[i];
    return Tensor::full({1}, sum, DType::f64);
}

inline Tensor sum_all_backward(const Tensor& dy, const Shape& shape) {
    return Tensor::full(shape, In("sum_all backward", "dy", dy, {1})[0], DType::f64);
}

inline double sum_of_squares(const Tensor& x) {
    const In px("sum_of_squares", "x", x);
    double sum = 0;
    for (int64_t i = 0; i < x.numel(); ++i) sum += px[i] * px[i];
    return sum;
}

}  // namespace wavllm::kernels::f64
