#pragma once
// The CUDA body of sample (sample.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

struct DeviceSampling {
    const float* logits;  ///< [rows, n]
    int64_t rows, n;
    const int64_t *requests, *positions;  ///< [rows]; null if greedy
    float inverse_temperature;            ///< 0: greedy
    int64_t top_k;
    double top_p;
    uint64_t seed;
    uint32_t purpose;
};

inline CudaBody<void(const DeviceSampling& s, int32_t* ids, float* log_probs)> sample_body{"sample"};

}  // namespace wavllm::kernels
