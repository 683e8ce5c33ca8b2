#pragma once
// Memory of a GPU: taken from the driver in segments, handed out in blocks, kept for the next who asks. cudaMalloc takes
// tens of microseconds and cudaFree waits for the GPU, so a training step that repeats must need neither.
//
// A block that was freed is handed out again at once, while the GPU may still work on it: all work is in the order of one
// stream (kernels/cuda/runtime/streams.h), so what its next owner does comes after what the last one did.
//
//   - Sizes are rounded up to 512 bytes. Requests of up to 1 MiB live in segments of 2 MiB of their own, so that they do
//     not lie in the way of large ones; others in segments of at least 32 MiB.
//   - The smallest free block that fits is split; free neighbours in a segment become one block again.
//   - When the driver has no more, segments in which nothing is used go back to it, and it is asked once more.
//
// This file knows nothing of CUDA: tests/cuda/allocator_test.cpp plays the driver.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <mutex>
#include <unordered_map>

namespace wavllm::cuda {

/// Where segments come from.
class RawMemory {
public:
    struct State {
        size_t free = 0, total = 0;  ///< bytes of the whole GPU, other programs included
    };
    virtual ~RawMemory() = default;
    /// Aligned to 512 bytes; null if there is not that much.
    virtual void* allocate(size_t bytes) = 0;
    virtual void free(void* pointer) noexcept = 0;
    virtual State state() = 0;
};

class CachingAllocator {
public:
    struct Account {
        size_t used = 0;        ///< bytes of blocks that somebody has, rounded as above
        size_t peak = 0;        ///< most of them at once
        size_t reserved = 0;    ///< bytes of segments, free blocks included
        size_t held = 0;        ///< of `used`: freed, but kept for a Hold
        uint64_t requests = 0;  ///< how often the driver was asked for memory: does not grow in a step that repeats
    };

    explicit CachingAllocator(RawMemory& raw);
    ~CachingAllocator();  ///< gives everything back, used or not
    CachingAllocator(const CachingAllocator&) = delete;
    CachingAllocator& operator=(const CachingAllocator&) = delete;

    /// Aligned to 512 bytes. Throws Error that says how much was asked, used, cached and free.
    void* allocate(size_t bytes);
    /// Null is nothing. A pointer that is not from here ends the program: it would damage the accounts.
    void free(void* pointer) noexcept;
    /// Returns unused segments to the driver; how many bytes.
    size_t give_back();
    Account account() const;

    /// Blocks handed out between begin_hold and end_hold stay out of others' hands until release_hold, also when they
    /// are freed: a captured graph (tensor/graph.h) writes to them each time it runs. Until end_hold a freed one
    /// serves again: the graph repeats its work in the same order. Meanwhile the driver is not asked, as it may not be
    /// while a graph is captured: what is not cached is an Error. One hold is open at a time.
    uint32_t begin_hold();
    void end_hold();
    void release_hold(uint32_t hold) noexcept;

private:
    struct Block {
        char* data = nullptr;
        size_t size = 0;
        Block *previous = nullptr, *next = nullptr;  // neighbours in the segment
        Block *previous_free = nullptr, *next_free = nullptr;
        bool free = false, large = false, parked = false;
        uint32_t hold = 0;
    };
    static constexpr int kBins = 64 * 4;
    using Bins = std::array<Block*, kBins>;

    void push(Block& b);
    void pop(Block& b);
    Block* find(bool large, size_t size);
    Block* grow(bool large, size_t size);
    void split(Block& b, size_t size);
    void absorb_next(Block& b);
    void release(Block& b);
    size_t give_back_locked();
    Block& make_block(char* data, size_t size, bool large);

    RawMemory& raw_;
    mutable std::mutex mutex_;
    std::pmr::unsynchronized_pool_resource pool_;  // of the map's nodes: no system call a block
    std::pmr::unordered_map<const void*, Block> blocks_{&pool_};
    std::array<Bins, 2> bins_{};
    Account account_;
    uint32_t open_hold_ = 0, last_hold_ = 0;
};

}  // namespace wavllm::cuda
