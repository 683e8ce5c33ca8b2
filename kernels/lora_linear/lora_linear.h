#pragma once
#include "kernels/dropout/dropout.h"
#include "kernels/linear/packed_weight.h"

namespace wavllm {

/// The strength of a LoRA update: one number (stage 1: alpha / rank), or a vector for each request in the batch, as the
/// prompt adapter makes it (stage 2; paper, eq. 5).
struct LoraScale {
    double s = 1;      ///< rounded to f32 unless all is in f64
    Tensor r{};        ///< [S, N] or undefined; then s is not used
    Tensor borders{};  ///< i64 [S+1]: which rows belong to which request; only with r
};

namespace kernels {

struct LoraForward {
    Tensor y;  ///< [T, N]
    Tensor u;  ///< [T, rank] = drop(x) A, what the backward pass needs besides x
};

/// y = x W^T + ((drop(x) A) B) * scale                               WavLLM eq. 5; LoRA, Hu et al. 2021, eq. 3
/// x: [T, K]; w: [N, K] frozen; a: [K, rank]; b: [rank, N]; y: [T, N]. Dropout acts on the LoRA branch only
/// (drop == nullptr or p = 0: none). The rank-wide product is added to y in the same pass that computes it; neither
/// B's product nor the masked x is kept. With a weight packed in bf16 every product, those for the gradients too, takes
/// factors rounded to bf16 and sums in f32 (kernels/gemm/gemm_bf16.h); u is rounded on its way into uB. Tensors and w on one
/// device, borders and row_keys on the CPU; on the tensor cores the chain of y begins with the scaled update.
LoraForward lora_linear(const Tensor& x, const PackedWeight& w, const Tensor& a, const Tensor& b,
                        const LoraScale& scale, const DropoutKey* drop);

/// Gradients; null pointers are not computed. dx is assigned, da, db, dr are added to.
struct LoraGradients {
    Tensor* dx = nullptr;
    Tensor* da = nullptr;
    Tensor* db = nullptr;
    Tensor* dr = nullptr;
};
void lora_linear_backward(const Tensor& dy, const Tensor& x, const Tensor& u, const PackedWeight& w, const Tensor& a,
                          const Tensor& b, const LoraScale& scale, const DropoutKey* drop, const LoraGradients& out);

}  // namespace kernels

}  // namespace wavllm
