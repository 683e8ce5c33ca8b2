#pragma once
// The way to a fast matrix product, for reading: c [M, N] = a [M, K] b [K, N], all f32 and dense. Each step is a file, does
// one thing more than the one before, and gives the same result (the last one rounds its factors to bf16). What the ops
// call goes on from steps 3 and 4: gemm_f32.cu, gemm_bf16.cuh. What the emulator counts for 128 x 128 x 128:
//
//   step            sectors of 32 bytes   of ideal   shared wavefronts   bank conflicts
//   naive                        329728      1.00                   0                0
//   shared                        18432      1.00              135168                0
//   registers                     16384      1.60               35840             1024
//   tensor cores                  12288      1.20                9216             3072

#include <span>

#include "kernels/simt/body.h"

namespace wavllm::kernels {

using GemmStepBody = CudaBody<void(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k)>;

inline GemmStepBody gemm_naive_body{"gemm step 1, naive"};
inline GemmStepBody gemm_shared_body{"gemm step 2, tiles in shared memory"};
inline GemmStepBody gemm_registers_body{"gemm step 3, tiles in registers"};
inline GemmStepBody gemm_tensor_cores_body{"gemm step 4, tensor cores"};

struct GemmStep {
    const char *name, *idea;
    const GemmStepBody* body;
    bool rounds = false;  ///< its factors to bf16
};
inline std::span<const GemmStep> gemm_steps() {
    static const GemmStep steps[] = {
        {"naive", "a thread an element: two loads for each multiplication", &gemm_naive_body},
        {"shared", "a block shares tiles of 32 x 32: a load serves 32 multiplications", &gemm_shared_body},
        {"registers", "4 x 4 elements a thread: 8 loads of shared memory serve 16", &gemm_registers_body},
        {"tensor cores", "16 x 8 x 16 an instruction, copies that do not wait", &gemm_tensor_cores_body, true}};
    return steps;
}

}  // namespace wavllm::kernels
