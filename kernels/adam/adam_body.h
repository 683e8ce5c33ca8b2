#pragma once
// The CUDA body of Adam (adam.cu): many parameters in one launch. All pointers in a slice are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// What a step has in common for all elements of a parameter, rounded once from double (adam.cpp).
struct AdamFactors {
    float rate, inverse_root, keep, one_minus_beta1, beta2, one_minus_beta2, eps, grad_scale;
};

struct AdamSlice {
    float* param;
    const float* grad;
    float *m, *v;
    int64_t n;
    AdamFactors factors;
};

/// slices: on the host, any number of them.
inline CudaBody<void(const AdamSlice* slices, int64_t count)> adam_body{"adam"};

}  // namespace wavllm::kernels
