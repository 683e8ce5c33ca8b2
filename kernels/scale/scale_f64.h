#pragma once
// A number times a tensor in double.

#include "kernels/common/f64.h"

namespace wavllm::kernels::f64 {

inline Tensor scale(const Tensor& x, double s) {
    return map("scale", x, [s](double v) { return s * v; });
}

}  // namespace wavllm::kernels::f64
