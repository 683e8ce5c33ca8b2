#pragma once
// CUDA's keywords, built-in variables and intrinsics for the host compiler. Each stands at most for a call of
// device_api.h that passes on where it was written.

#include <bit>
#include <type_traits>

#include "kernels/simt/host/device_api.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
// Blocks run at the same time on several threads, and the emulator must know every variable's name and size.
#define __shared__ error_write_WAVLLM_SHARED_instead_of___shared__

#define threadIdx (::wavllm::simt::thread_index())
#define blockIdx (::wavllm::simt::block_index())
#define blockDim (::wavllm::simt::block_size())
#define gridDim (::wavllm::simt::grid_size())
constexpr int warpSize = 32;

namespace wavllm::simt {

template <class T>
SIMT_MEMBER uint64_t to_bits(T v) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2, "shuffles move 2, 4 or 8 bytes");
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &v, sizeof v);
    return bits;
}
template <class T>
SIMT_MEMBER T from_bits(uint64_t bits) {
    T v;
    __builtin_memcpy(&v, &bits, sizeof v);
    return v;
}

SIMT_MEMBER uint64_t warp_operation(WarpOp op, uint32_t mask, uint64_t value, int argument, int width,
                                    const std::source_location& here) {
    WarpRequest r;
    r.op = op;
    r.mask = mask;
    r.where = site_of(here);
    r.value = value;
    r.argument = argument;
    r.width = width;
    warp_operation(r);
    return r.result;
}

template <class T>
SIMT_MEMBER T shuffle(WarpOp op, uint32_t mask, T value, int argument, int width, const std::source_location& here) {
    return from_bits<T>(warp_operation(op, mask, to_bits(value), argument, width, here));
}

template <class T>
constexpr AtomicType atomic_type() {
    if constexpr (std::is_same_v<T, int>) return AtomicType::s32;
    if constexpr (std::is_same_v<T, unsigned>) return AtomicType::u32;
    if constexpr (std::is_same_v<T, unsigned long long>) return AtomicType::u64;
    if constexpr (std::is_same_v<T, float>) return AtomicType::f32;
    if constexpr (std::is_same_v<T, double>) return AtomicType::f64;
}

}  // namespace wavllm::simt

SIMT_INLINE void __syncthreads(SIMT_HERE) {
    ::wavllm::simt::barrier(::wavllm::simt::Barrier::sync, 0, ::wavllm::simt::site_of(here));
}
SIMT_INLINE int __syncthreads_count(int predicate, SIMT_HERE) {
    return ::wavllm::simt::barrier(::wavllm::simt::Barrier::count, predicate, ::wavllm::simt::site_of(here));
}
SIMT_INLINE int __syncthreads_and(int predicate, SIMT_HERE) {
    return ::wavllm::simt::barrier(::wavllm::simt::Barrier::all, predicate, ::wavllm::simt::site_of(here));
}
SIMT_INLINE int __syncthreads_or(int predicate, SIMT_HERE) {
    return ::wavllm::simt::barrier(::wavllm::simt::Barrier::any, predicate, ::wavllm::simt::site_of(here));
}

template <class T>
SIMT_MEMBER T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SIMT_HERE) {
    return ::wavllm::simt::shuffle(::wavllm::simt::WarpOp::shfl, mask, value, lane, width, here);
}
template <class T>
SIMT_MEMBER T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_HERE) {
    return ::wavllm::simt::shuffle(::wavllm::simt::WarpOp::shfl_up, mask, value, static_cast<int>(delta), width, here);
}
template <class T>
SIMT_MEMBER T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_HERE) {
    return ::wavllm::simt::shuffle(::wavllm::simt::WarpOp::shfl_down, mask, value, static_cast<int>(delta), width,
                                   here);
}
template <class T>
SIMT_MEMBER T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, SIMT_HERE) {
    return ::wavllm::simt::shuffle(::wavllm::simt::WarpOp::shfl_xor, mask, value, lanes, width, here);
}

SIMT_INLINE void __syncwarp(unsigned mask = 0xffffffffu, SIMT_HERE) {
    ::wavllm::simt::warp_operation(::wavllm::simt::WarpOp::sync, mask, 0, 0, 32, here);
}
SIMT_INLINE unsigned __ballot_sync(unsigned mask, int predicate, SIMT_HERE) {
    return static_cast<unsigned>(
        ::wavllm::simt::warp_operation(::wavllm::simt::WarpOp::ballot, mask, predicate != 0, 0, 32, here));
}
SIMT_INLINE int __all_sync(unsigned mask, int predicate, SIMT_HERE) {
    return static_cast<int>(
        ::wavllm::simt::warp_operation(::wavllm::simt::WarpOp::all, mask, predicate != 0, 0, 32, here));
}
SIMT_INLINE int __any_sync(unsigned mask, int predicate, SIMT_HERE) {
    return static_cast<int>(
        ::wavllm::simt::warp_operation(::wavllm::simt::WarpOp::any, mask, predicate != 0, 0, 32, here));
}
SIMT_INLINE unsigned __activemask(SIMT_HERE) {
    return static_cast<unsigned>(
        ::wavllm::simt::warp_operation(::wavllm::simt::WarpOp::active_mask, 0, 0, 0, 32, here));
}

#define SIMT_REDUCE(name, op, type)                                                                          \
    SIMT_INLINE type name(unsigned mask, type value, SIMT_HERE) {                                            \
        return static_cast<type>(::wavllm::simt::warp_operation(::wavllm::simt::WarpOp::op, mask,            \
                                                                static_cast<uint32_t>(value), 0, 32, here)); \
    }
SIMT_REDUCE(__reduce_add_sync, add_s32, int)
SIMT_REDUCE(__reduce_add_sync, add_u32, unsigned)
SIMT_REDUCE(__reduce_min_sync, min_s32, int)
SIMT_REDUCE(__reduce_min_sync, min_u32, unsigned)
SIMT_REDUCE(__reduce_max_sync, max_s32, int)
SIMT_REDUCE(__reduce_max_sync, max_u32, unsigned)
SIMT_REDUCE(__reduce_and_sync, and_u32, unsigned)
SIMT_REDUCE(__reduce_or_sync, or_u32, unsigned)
SIMT_REDUCE(__reduce_xor_sync, xor_u32, unsigned)
#undef SIMT_REDUCE

template <class T>
SIMT_MEMBER unsigned __match_any_sync(unsigned mask, T value, SIMT_HERE) {
    return static_cast<unsigned>(::wavllm::simt::warp_operation(::wavllm::simt::WarpOp::match_any, mask,
                                                                ::wavllm::simt::to_bits(value), 0, 32, here));
}
template <class T>
SIMT_MEMBER unsigned __match_all_sync(unsigned mask, T value, int* all_equal, SIMT_HERE) {
    const unsigned equal = static_cast<unsigned>(::wavllm::simt::warp_operation(
        ::wavllm::simt::WarpOp::match_all, mask, ::wavllm::simt::to_bits(value), 0, 32, here));
    *all_equal = equal != 0;
    return equal;
}

SIMT_INLINE void __threadfence() {
    ::wavllm::simt::thread_fence(true);
}
SIMT_INLINE void __threadfence_block() {
    ::wavllm::simt::thread_fence(false);
}
SIMT_INLINE void __trap(SIMT_HERE) {
    ::wavllm::simt::trap("__trap()", ::wavllm::simt::site_of(here));
}

#define SIMT_ATOMIC(name, op)                                                                                 \
    template <class T>                                                                                        \
    SIMT_MEMBER T name(T* address, std::type_identity_t<T> value) {                                           \
        return ::wavllm::simt::from_bits<T>(::wavllm::simt::atomic(::wavllm::simt::AtomicOp::op,              \
                                                                   ::wavllm::simt::atomic_type<T>(), address, \
                                                                   ::wavllm::simt::to_bits(value), 0));       \
    }
SIMT_ATOMIC(atomicAdd, add)
SIMT_ATOMIC(atomicExch, exchange)
SIMT_ATOMIC(atomicMin, min)
SIMT_ATOMIC(atomicMax, max)
SIMT_ATOMIC(atomicAnd, bit_and)
SIMT_ATOMIC(atomicOr, bit_or)
SIMT_ATOMIC(atomicXor, bit_xor)
SIMT_ATOMIC(atomicInc, increment)
#undef SIMT_ATOMIC
template <class T>
SIMT_MEMBER T atomicCAS(T* address, std::type_identity_t<T> compare, std::type_identity_t<T> value) {
    return ::wavllm::simt::from_bits<T>(
        ::wavllm::simt::atomic(::wavllm::simt::AtomicOp::cas, ::wavllm::simt::atomic_type<T>(), address,
                               ::wavllm::simt::to_bits(value), ::wavllm::simt::to_bits(compare)));
}

// assert() of a kernel becomes an error of the launch, not the end of the program.
#undef assert
#define assert(condition) \
    ((condition)          \
         ? (void)0        \
         : ::wavllm::simt::trap("assert(" #condition ")", ::wavllm::simt::site_of(std::source_location::current())))
