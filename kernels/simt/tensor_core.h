#pragma once
// Instructions that CUDA C++ has no intrinsic for: tensor cores, ldmatrix, asynchronous copies, named barriers. Each has a
// body for a GPU (PTX, sm_80 and later) and one for the emulator. Included by cuda.h.
//
// Fragments are the registers of one lane, as the PTX ISA lays them out ("Matrix Fragments for mma.m16n8k16"), with
// g = lane / 4 and t = lane % 4; each 32-bit register holds two neighbouring 16-bit elements, the lower one first:
//
//   A (16 x 16, rows)    a[0]: row g, columns 2t, 2t+1    a[1]: row g+8    a[2]: row g, columns +8    a[3]: row g+8, +8
//   B (16 x 8, k x n)    b[0]: k 2t, 2t+1 of column g     b[1]: k +8
//   C, D (16 x 8)        d[0], d[1]: row g, columns 2t, 2t+1               d[2], d[3]: row g+8

#include <cstdint>

#ifdef __CUDACC__
#define WAVLLM_DEVICE __device__ __forceinline__
#else
#define WAVLLM_DEVICE SIMT_MEMBER
#endif

namespace wavllm {

#ifdef __CUDACC__

namespace simt {
WAVLLM_DEVICE uint32_t shared_address(const void* p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
}  // namespace simt

/// d += a b for bf16 a and b. All 32 lanes of the warp.
WAVLLM_DEVICE void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// The same for f16.
WAVLLM_DEVICE void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// N matrices (1, 2, 4) of 8 x 8 16-bit elements from shared memory. Lane 8 i + j gives the address of row j of matrix i
/// (16 bytes, aligned to 16); r[i] gets of matrix i row g, columns 2t, 2t+1. All 32 lanes of the warp.
template <int N>
WAVLLM_DEVICE void ldmatrix(uint32_t (&r)[N], const void* row) {
    static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
    const uint32_t address = simt::shared_address(row);
    if constexpr (N == 1)
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
    else if constexpr (N == 2)
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1])
                     : "r"(address)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address)
                     : "memory");
}
/// The same, transposed: r[i] gets of matrix i rows 2t, 2t+1 of column g.
template <int N>
WAVLLM_DEVICE void ldmatrix_trans(uint32_t (&r)[N], const void* row) {
    static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
    const uint32_t address = simt::shared_address(row);
    if constexpr (N == 1)
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                     : "=r"(r[0])
                     : "r"(address)
                     : "memory");
    else if constexpr (N == 2)
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1])
                     : "r"(address)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address)
                     : "memory");
}

/// Starts a copy of Bytes (4, 8, 16; both sides aligned to it) from global to shared memory, of which only the first
/// read_bytes are read and the rest becomes zeros. It belongs to the group that the thread's next cp_async_commit closes.
template <int Bytes>
WAVLLM_DEVICE void cp_async(void* shared, const void* global, int read_bytes = Bytes) {
    static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp_async copies 4, 8 or 16 bytes");
    if constexpr (Bytes == 16)  // past L1
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(simt::shared_address(shared)), "l"(global),
                     "r"(read_bytes)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(simt::shared_address(shared)), "l"(global),
                     "n"(Bytes), "r"(read_bytes)
                     : "memory");
}
WAVLLM_DEVICE void cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Waits until at most N of this thread's latest groups are under way. Other threads see the copies after a barrier.
template <int N>
WAVLLM_DEVICE void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/// Waits until `threads` threads (whole warps) have come to barrier `id`, 1 to 15.
WAVLLM_DEVICE void named_barrier_sync(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

#else

namespace simt {
struct MmaRegisters {
    float* d;
    const uint32_t *a, *b;
};
SIMT_MEMBER void whole_warp(WarpOp op, void* registers, const void* address, int count, bool transposed, Site where) {
    WarpRequest r;
    r.op = op;
    r.mask = 0xffffffffu;
    r.where = where;
    r.value = reinterpret_cast<uintptr_t>(address);
    r.argument = count;
    r.width = transposed ? 1 : 32;
    r.registers = registers;
    warp_operation(r);
}
}  // namespace simt

WAVLLM_DEVICE void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], SIMT_HERE) {
    simt::MmaRegisters r{d, a, b};
    simt::whole_warp(simt::WarpOp::mma_bf16, &r, nullptr, 1, false, simt::site_of(here));
}
WAVLLM_DEVICE void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], SIMT_HERE) {
    simt::MmaRegisters r{d, a, b};
    simt::whole_warp(simt::WarpOp::mma_f16, &r, nullptr, 1, false, simt::site_of(here));
}
template <int N>
WAVLLM_DEVICE void ldmatrix(uint32_t (&r)[N], const void* row, SIMT_HERE) {
    static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
    simt::whole_warp(simt::WarpOp::ldmatrix, r, row, N, false, simt::site_of(here));
}
template <int N>
WAVLLM_DEVICE void ldmatrix_trans(uint32_t (&r)[N], const void* row, SIMT_HERE) {
    static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
    simt::whole_warp(simt::WarpOp::ldmatrix, r, row, N, true, simt::site_of(here));
}
template <int Bytes>
WAVLLM_DEVICE void cp_async(void* shared, const void* global, int read_bytes = Bytes) {
    static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp_async copies 4, 8 or 16 bytes");
    simt::copy_async(shared, global, Bytes, static_cast<unsigned>(read_bytes));
}
WAVLLM_DEVICE void cp_async_commit() {
    simt::copy_async_commit();
}
template <int N>
WAVLLM_DEVICE void cp_async_wait() {
    simt::copy_async_wait(N);
}
WAVLLM_DEVICE void named_barrier_sync(int id, int threads, SIMT_HERE) {
    simt::named_barrier(id, threads, simt::site_of(here));
}

#endif

}  // namespace wavllm
