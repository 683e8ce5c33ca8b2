#include "kernels/cuda/caching_allocator.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tensor/error.h"

namespace wavllm::cuda {

namespace {

constexpr size_t kAlign = 512, kMiB = size_t{1} << 20;
constexpr size_t kLargestSmall = kMiB, kSmallSegment = 2 * kMiB, kLargeSegment = 32 * kMiB;

/// Four bins a power of two, as in tensor/allocator.cpp.
size_t bin_of(size_t size) {
    const auto log = static_cast<size_t>(std::bit_width(size)) - 1;
    return log * 4 + ((size >> (log - 2)) & 3U);
}

size_t rounded_up(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

std::string megabytes(size_t bytes) {
    return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

}  // namespace

CachingAllocator::CachingAllocator(RawMemory& raw) : raw_(raw) {}

CachingAllocator::~CachingAllocator() {
    for (auto& [data, block] : blocks_)
        if (!block.previous) raw_.free(block.data);
}

CachingAllocator::Block& CachingAllocator::make_block(char* data, size_t size, bool large) {
    Block& b = blocks_[data];  // the map's elements stay where they are
    b = Block{};
    b.data = data;
    b.size = size;
    b.large = large;
    return b;
}

void CachingAllocator::push(Block& b) {
    Block*& head = bins_[b.large][bin_of(b.size)];
    b.free = true;
    b.previous_free = nullptr;
    b.next_free = head;
    if (head) head->previous_free = &b;
    head = &b;
}

void CachingAllocator::pop(Block& b) {
    if (b.next_free) b.next_free->previous_free = b.previous_free;
    (b.previous_free ? b.previous_free->next_free : bins_[b.large][bin_of(b.size)]) = b.next_free;
    b.free = false;
}

CachingAllocator::Block* CachingAllocator::find(bool large, size_t size) {
    // Bins are in order of size, so the first that holds a block which fits holds the smallest of all.
    for (size_t bin = bin_of(size); bin < kBins; ++bin) {
        Block* best = nullptr;
        for (Block* b = bins_[large][bin]; b; b = b->next_free)
            if (b->size >= size && (!best || b->size < best->size)) best = b;
        if (best) return best;
    }
    return nullptr;
}

CachingAllocator::Block* CachingAllocator::grow(bool large, size_t size) {
    const size_t wanted = large ? std::max(rounded_up(size, 2 * kMiB), kLargeSegment) : kSmallSegment;
    const auto ask = [&](size_t bytes) {
        ++account_.requests;
        return static_cast<char*>(raw_.allocate(bytes));
    };
    size_t bytes = wanted;
    char* data = ask(bytes);
    if (!data && give_back_locked() > 0) data = ask(bytes);
    if (!data && size < wanted) data = ask(bytes = size);
    if (!data) return nullptr;
    account_.reserved += bytes;
    Block& b = make_block(data, bytes, large);
    push(b);
    return &b;
}

void CachingAllocator::split(Block& b, size_t size) {
    // What would be left of a large block is worth keeping only if it can serve a large request.
    if (b.size - size < (b.large ? kMiB : kAlign)) return;
    Block& rest = make_block(b.data + size, b.size - size, b.large);
    b.size = size;
    rest.hold = b.hold;
    rest.previous = &b;
    rest.next = b.next;
    if (rest.next) rest.next->previous = &rest;
    b.next = &rest;
    push(rest);
}

void CachingAllocator::absorb_next(Block& b) {
    Block* gone = b.next;
    b.size += gone->size;
    b.hold = std::max(b.hold, gone->hold);  // of free neighbours at most one is not 0: the open one's
    b.next = gone->next;
    if (b.next) b.next->previous = &b;
    blocks_.erase(gone->data);
}

void* CachingAllocator::allocate(size_t bytes) {
    const size_t size = std::max(kAlign, rounded_up(bytes, kAlign));
    const bool large = size > kLargestSmall;
    const std::lock_guard lock(mutex_);
    Block* b = size >= bytes ? find(large, size) : nullptr;
    if (!b && open_hold_)
        throw Error(
            "{} on cuda are not cached, and the driver may not be asked while a graph is captured; run the step once "
            "before it is captured",
            megabytes(bytes));
    if (!b && size >= bytes) b = grow(large, size);
    if (!b) {
        size_t largest = 0;
        for (const auto& [data, block] : blocks_)
            if (block.free) largest = std::max(largest, block.size);
        const RawMemory::State gpu = raw_.state();
        throw Error(
            "out of memory on cuda: {} asked, {} used by tensors, {} cached (the largest piece {}), {} of {} free on "
            "the GPU; "
            "use smaller batches or activation checkpointing, or end other programs on the GPU",
            megabytes(bytes), megabytes(account_.used), megabytes(account_.reserved - account_.used),
            megabytes(largest), megabytes(gpu.free), megabytes(gpu.total));
    }
    pop(*b);
    split(*b, size);
    b->hold = open_hold_;
    account_.used += b->size;
    account_.peak = std::max(account_.peak, account_.used);
    return b->data;
}

void CachingAllocator::release(Block& b) {
    account_.used -= b.size;
    Block* whole = &b;
    if (b.next && b.next->free) {
        pop(*b.next);
        absorb_next(b);
    }
    if (b.previous && b.previous->free) {
        whole = b.previous;
        pop(*whole);
        absorb_next(*whole);
    }
    push(*whole);
}

void CachingAllocator::free(void* pointer) noexcept {
    if (!pointer) return;
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(pointer);
    if (found == blocks_.end() || found->second.free || found->second.parked) {
        std::fprintf(stderr, "wavllm: %p on cuda is freed, but %s\n", pointer,
                     found == blocks_.end() ? "was never handed out" : "nobody has it: it was freed before");
        std::abort();
    }
    Block& b = found->second;
    if (b.hold == open_hold_ || b.hold == 0) return release(b);
    b.parked = true;
    account_.held += b.size;
}

size_t CachingAllocator::give_back_locked() {
    size_t bytes = 0;
    for (auto it = blocks_.begin(); it != blocks_.end();) {
        Block& b = it->second;
        if (!b.free || b.previous || b.next) {
            ++it;
            continue;
        }
        pop(b);
        raw_.free(b.data);
        bytes += b.size;
        it = blocks_.erase(it);
    }
    account_.reserved -= bytes;
    return bytes;
}

size_t CachingAllocator::give_back() {
    const std::lock_guard lock(mutex_);
    return give_back_locked();
}

CachingAllocator::Account CachingAllocator::account() const {
    const std::lock_guard lock(mutex_);
    return account_;
}

uint32_t CachingAllocator::begin_hold() {
    const std::lock_guard lock(mutex_);
    if (open_hold_) throw Error("a graph is being captured already; one at a time");
    return open_hold_ = ++last_hold_;
}

void CachingAllocator::end_hold() {
    const std::lock_guard lock(mutex_);
    if (open_hold_ == 0) return;
    for (auto& [data, block] : blocks_) {
        if (!block.free || block.hold != open_hold_) continue;
        pop(block);
        block.parked = true;
        account_.used += block.size;
        account_.held += block.size;
    }
    open_hold_ = 0;
}

void CachingAllocator::release_hold(uint32_t hold) noexcept {
    const std::lock_guard lock(mutex_);
    std::vector<Block*> parked;  // releasing one merges it with its neighbours, which changes the map
    for (auto& [data, block] : blocks_) {
        if (block.free || block.hold != hold) continue;
        block.hold = 0;
        if (block.parked) parked.push_back(&block);
    }
    for (Block* b : parked) {
        b->parked = false;
        account_.held -= b->size;
        release(*b);
    }
}

}  // namespace wavllm::cuda
