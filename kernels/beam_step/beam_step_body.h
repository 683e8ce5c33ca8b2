#pragma once
// The CUDA body of beam_step (beam_step.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// One continuation of a beam; token -1: the row has no more.
struct BeamCandidate {
    float score;
    int32_t token;
};

struct DeviceBeams {
    const float *logits, *scores;
    const int64_t* borders;  ///< [requests + 1]
    int64_t rows, n, requests, k;
    BeamCandidate* candidates;  ///< workspace [rows, k]
};

inline CudaBody<void(const DeviceBeams& b, int32_t* parents, int32_t* tokens, float* scores)> beam_step_body{
    "beam_step"};

}  // namespace wavllm::kernels
