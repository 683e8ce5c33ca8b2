#include "tensor/ref.h"

#include <array>
#include <cstdlib>
#include <mutex>
#include <new>

namespace wavllm {

namespace {

constexpr size_t kStep = 32, kLargest = 4096;  // bytes; larger objects go to malloc
constexpr size_t kSlab = 64 * 1024;

struct FreeBlock {
    FreeBlock* next;
};

struct SmallPool {
    std::mutex mutex;
    std::array<FreeBlock*, kLargest / kStep> free{};
    char* slab = nullptr;
    size_t slab_left = 0;
};

SmallPool& pool() {
    static SmallPool* p = new SmallPool;  // never destroyed: static objects may still release references at exit
    return *p;
}

}  // namespace

void* small_allocate(size_t bytes) {
    if (bytes > kLargest) {
        if (void* p = std::malloc(bytes)) return p;
        throw std::bad_alloc();
    }
    const size_t bin = (bytes + kStep - 1) / kStep - 1, size = (bin + 1) * kStep;
    SmallPool& p = pool();
    std::lock_guard lock(p.mutex);
    if (FreeBlock* block = p.free[bin]) {
        p.free[bin] = block->next;
        return block;
    }
    if (p.slab_left < size) {
        p.slab = static_cast<char*>(std::aligned_alloc(64, kSlab));
        if (!p.slab) throw std::bad_alloc();
        p.slab_left = kSlab;
    }
    char* result = p.slab;
    p.slab += size;
    p.slab_left -= size;
    return result;
}

void small_free(void* pointer, size_t bytes) noexcept {
    if (bytes > kLargest) return std::free(pointer);
    const size_t bin = (bytes + kStep - 1) / kStep - 1;
    SmallPool& p = pool();
    std::lock_guard lock(p.mutex);
    p.free[bin] = new (pointer) FreeBlock{p.free[bin]};
}

}  // namespace wavllm
