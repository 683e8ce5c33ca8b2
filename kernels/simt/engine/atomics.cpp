#include <bit>
#include <limits>

#include "kernels/simt/engine/block.h"
#include "kernels/simt/engine/shadow.h"

namespace wavllm::simt {

namespace {

template <class T>
T combine(AtomicOp op, T old, T value, T compare) {
    switch (op) {
        case AtomicOp::add: return static_cast<T>(old + value);
        case AtomicOp::exchange: return value;
        case AtomicOp::cas: return old == compare ? value : old;
        case AtomicOp::min: return value < old ? value : old;
        case AtomicOp::max: return old < value ? value : old;
        default: break;
    }
    if constexpr (std::numeric_limits<T>::is_integer) {
        if (op == AtomicOp::bit_and) return old & value;
        if (op == AtomicOp::bit_or) return old | value;
        if (op == AtomicOp::bit_xor) return old ^ value;
        if (op == AtomicOp::increment) return old >= value ? T{0} : static_cast<T>(old + 1);
    }
    return old;
}

/// Word: the unsigned type of T's size; blocks run at the same time, so this must be atomic for the host too.
template <class T, class Word>
uint64_t update(AtomicOp op, void* address, uint64_t value, uint64_t compare) {
    Word* p = static_cast<Word*>(address);
    Word old = __atomic_load_n(p, __ATOMIC_RELAXED);
    for (;;) {
        const T next = combine<T>(op, std::bit_cast<T>(old), std::bit_cast<T>(static_cast<Word>(value)),
                                  std::bit_cast<T>(static_cast<Word>(compare)));
        if (__atomic_compare_exchange_n(p, &old, std::bit_cast<Word>(next), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            return old;
    }
}

}  // namespace

uint64_t Block::atomic(AtomicOp op, AtomicType type, void* address, uint64_t value, uint64_t compare, uintptr_t pc) {
    const size_t bytes = type == AtomicType::u64 || type == AtomicType::f64 ? 8 : 4;
    if (checked_) access(address, bytes, Access::atomic, pc);
    if (reinterpret_cast<uintptr_t>(address) - device_range.begin < device_range.bytes) did_atomic_ = true;
    ++counters_.atomics;
    uint64_t old = 0;
    switch (type) {
        case AtomicType::s32: old = update<int32_t, uint32_t>(op, address, value, compare); break;
        case AtomicType::u32: old = update<uint32_t, uint32_t>(op, address, value, compare); break;
        case AtomicType::u64: old = update<uint64_t, uint64_t>(op, address, value, compare); break;
        case AtomicType::f32: old = update<float, uint32_t>(op, address, value, compare); break;
        case AtomicType::f64: old = update<double, uint64_t>(op, address, value, compare); break;
    }
    // It may be a lock that another thread of the block holds.
    if ((op == AtomicOp::cas || op == AtomicOp::exchange) && ++threads_[static_cast<size_t>(current_)].spins % 16 == 0)
        yield();
    return old;
}

void Block::thread_fence(bool whole_device) {
    if (whole_device) launch_->fenced.store(true, std::memory_order_relaxed);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

}  // namespace wavllm::simt
