#pragma once
// The CUDA body of group_norm (group_norm.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

constexpr int64_t kGroupNormChunk = 256;  ///< rows of a sequence that are added up in f32

constexpr int64_t group_norm_chunks(int64_t rows) {
    return (rows + kGroupNormChunk - 1) / kGroupNormChunk;
}

/// What both ways are told; borders: [sequences + 1]; all_chunks: of all sequences.
struct DeviceGroupNorm {
    const float *x, *w;
    const int64_t* borders;
    int64_t sequences, rows, channels, groups, all_chunks;
    float* chunks;   ///< workspace [all_chunks, 2, channels]
    double* totals;  ///< workspace [sequences, 2, channels]
    float* moments;  ///< [sequences, 2, channels]: written forward, read backward
};

inline CudaBody<void(const DeviceGroupNorm& g, const float* b, float* y, float eps)> group_norm_body{"group_norm"};
/// means: workspace [sequences, 2, channels]. dx, dw, db are null where they are not wanted.
inline CudaBody<void(const DeviceGroupNorm& g, const float* dy, float* means, float* dx, float* dw, float* db)>
    group_norm_backward_body{"group_norm backward"};

}  // namespace wavllm::kernels
