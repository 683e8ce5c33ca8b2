#pragma once
// What the emulated intrinsics of cuda.h call: the border between a kernel's object, which may be instrumented, and the
// engine, which never is. Nothing here is for kernels to call by name.

#include <cstddef>
#include <cstdint>
#include <source_location>

#include "kernels/simt/host/types.h"

namespace wavllm::simt {

/// Where in a kernel an intrinsic stands.
struct Site {
    const char* file = nullptr;
    uint32_t line = 0, column = 0;
    bool operator==(const Site& o) const {
        return line == o.line && column == o.column && file == o.file;
    }
};
SIMT_MEMBER Site site_of(const std::source_location& l) {
    return {l.file_name(), l.line(), l.column()};
}
#define SIMT_HERE const std::source_location& here = std::source_location::current()

uint3 thread_index() __attribute__((const));  // const: a function of the kernel runs for one thread only
uint3 block_index() __attribute__((const));
dim3 block_size() __attribute__((const));
dim3 grid_size() __attribute__((const));

enum class Barrier : uint8_t { sync, count, all, any, named };
/// __syncthreads and its kin; returns the count, the conjunction or the disjunction of `predicate`.
int barrier(Barrier kind, int predicate, Site where);
/// bar.sync id, threads.
void named_barrier(int id, int threads, Site where);

enum class WarpOp : uint8_t {
    sync,
    shfl,
    shfl_up,
    shfl_down,
    shfl_xor,
    ballot,
    all,
    any,
    add_s32,
    add_u32,
    min_s32,
    min_u32,
    max_s32,
    max_u32,
    and_u32,
    or_u32,
    xor_u32,
    match_any,
    match_all,
    active_mask,
    mma_bf16,
    mma_f16,
    ldmatrix
};
/// One lane's part in an operation of its warp. The object lies on the lane's stack while it waits; whichever lane comes
/// last fills in `result` of all of them.
struct WarpRequest {
    WarpOp op = WarpOp::sync;
    uint32_t mask = 0;
    Site where;
    uint64_t value = 0;         ///< what the lane brings
    int argument = 0;           ///< source lane, delta, xor mask; number of matrices
    int width = 32;             ///< of a shuffle's segment; 1: transposed, for ldmatrix
    void* registers = nullptr;  ///< the lane's fragments, for mma and ldmatrix
    uint64_t result = 0;
    uintptr_t pc = 0;
};
void warp_operation(WarpRequest& request);

enum class AtomicOp : uint8_t { add, exchange, cas, min, max, bit_and, bit_or, bit_xor, increment };
enum class AtomicType : uint8_t { s32, u32, u64, f32, f64 };
/// Returns the old value's bits.
uint64_t atomic(AtomicOp op, AtomicType type, void* address, uint64_t value, uint64_t compare);
void thread_fence(bool whole_device);

void copy_async(void* shared, const void* global, unsigned bytes, unsigned read_bytes);
void copy_async_commit();
void copy_async_wait(int groups_in_flight);

/// The block's variable that `key` names; made, poisoned, when its first thread gets here.
void* shared_variable(const void* key, const char* name, size_t bytes);
void* dynamic_shared(size_t alignment);

[[noreturn]] void trap(const char* what, Site where);

}  // namespace wavllm::simt
