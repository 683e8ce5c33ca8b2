#pragma once
#include "tensor/philox.h"
#include "tensor/tensor.h"

namespace wavllm {

/// What decides a dropout mask. Nothing else is stored: backward makes the mask again. Element (r, j) is dropped if
/// Philox(seed, purpose, step).uniform(row_keys[r] * 2^20 + j) < p, so a mask belongs to the key of its row (clip and
/// frame, say), whatever else is in the batch and wherever the row lies in it.
struct DropoutKey {
    float p = 0;           ///< probability of dropping, 0 <= p < 1; 0 switches dropout off
    uint64_t seed = 0;     ///< of the run
    uint32_t purpose = 0;  ///< purpose_hash("dropout...."): which layer
    uint32_t step = 0;     ///< of training
    Tensor row_keys{};     ///< i64 [rows]; may be undefined where p = 0
};

namespace kernels {

using wavllm::DropoutKey;

/// y[r, j] = x[r, j] / (1 - p) where kept, 0 where dropped; x, y: [..., D] f32, D <= 2^20. For p = 0 it is x itself.
/// Its own backward: dx = dropout(dy, key). Throws UsageError for p outside [0, 1), ShapeError unless there is a key
/// for each row.
Tensor dropout(const Tensor& x, const DropoutKey& key);

/// Throws as dropout() does for x of `rows` rows and `columns` columns.
void expect_dropout_key(std::string_view op, const DropoutKey& key, int64_t rows, int64_t columns);

/// y[j] = x[j] / (1 - p) or 0 for j < d, with the mask of row `row`: for fused ops that drop as they go. y may be x.
/// The key must have passed expect_dropout_key.
void dropout_row(const DropoutKey& key, int64_t row, const float* x, float* y, int64_t d);

/// What a kernel on a device makes the masks of such a key from (kernels/common/dropout_mask.cuh). It points into the
/// mirror of key.row_keys, which lives as long as they do.
struct DropoutMask;
DropoutMask mask_of(const DropoutKey& key, Device device);

}  // namespace kernels

}  // namespace wavllm
