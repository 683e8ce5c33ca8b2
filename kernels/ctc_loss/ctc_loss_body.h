#pragma once
// The CUDA body of ctc_loss (ctc_loss.cu). All pointers are of the device.

#include "kernels/simt/body.h"

namespace wavllm::kernels {

/// A sequence, and where its scratch begins; gathered < 0: it cannot be aligned, and has none.
struct DeviceCtcSequence {
    int64_t row, rows;       ///< first row, number of rows
    int64_t target, length;  ///< first target, number of targets
    int64_t gathered;        ///< its gathered logits: [rows, length]
    int64_t history;         ///< its lattice, if the gradient is wanted: [rows, 2, length + 1]
    int64_t exchange;  ///< rows of the lattice that threads exchange, [2, 2, length + 1], if shared memory is too small
};

struct DeviceCtc {
    const float *token_logits, *blank_logits;
    int64_t rows, classes, sequences, target_count, longest;
    const int32_t* targets;
    const DeviceCtcSequence* plan;
    float scale;
    float *losses, *dtokens, *dblank;  ///< dtokens and dblank null: no gradient
    // workspace
    float* gathered;
    double *shift, *lattice_m;
    int64_t* lattice_e;
    int32_t* links;  ///< [2, target_count]: the next target that is the same token, or -1; whether it is the first
};

/// Targets of at most this length are exchanged through shared memory.
inline constexpr int64_t kCtcSharedTargets = 1500;

inline CudaBody<void(const DeviceCtc& a)> ctc_loss_body{"ctc_loss"};

}  // namespace wavllm::kernels
