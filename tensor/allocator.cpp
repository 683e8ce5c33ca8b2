#include "tensor/allocator.h"

#include <sys/mman.h>

#include <bit>
#include <mutex>

#include "tensor/error.h"

namespace wavllm {

namespace {

// Memory comes from the system in slabs. A slab is a chain of blocks, each with a header before its payload; a freed
// block merges with free neighbours, and free blocks hang in bins by size (four bins a power of two).
constexpr size_t kAlign = 64;
constexpr size_t kSlabBytes = size_t{64} << 20;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr int kBins = 64 * 4;

struct alignas(kAlign) Block {
    size_t size;      // payload bytes, a multiple of kAlign
    Block* previous;  // neighbour in the slab before this one, or null
    Block* next_free;
    Block* previous_free;
    bool free;
    bool last;  // no neighbour after this one in the slab
    Purpose purpose;

    char* payload() {
        return reinterpret_cast<char*>(this + 1);
    }
    Block* next() {
        return last ? nullptr : reinterpret_cast<Block*>(payload() + size);
    }
};
static_assert(sizeof(Block) == kAlign);

int bin_of(size_t size) {
    const int log = std::bit_width(size) - 1;
    return log * 4 + static_cast<int>((size >> (log - 2)) & 3U);
}

struct Heap {
    std::mutex mutex;
    std::array<Block*, kBins> bins{};
    struct Accounts {
        std::array<Account, kPurposes> purposes{};
        Account total;
    };
    std::array<Accounts, kDevices> accounts{};
    uint64_t requests = 0;
    size_t reserved = 0;

    void push(Block* b) {
        Block*& head = bins[static_cast<size_t>(bin_of(b->size))];
        b->free = true;
        b->previous_free = nullptr;
        b->next_free = head;
        if (head) head->previous_free = b;
        head = b;
    }

    void pop(Block* b) {
        if (b->next_free) b->next_free->previous_free = b->previous_free;
        (b->previous_free ? b->previous_free->next_free : bins[static_cast<size_t>(bin_of(b->size))]) = b->next_free;
        b->free = false;
    }

    Block* find(size_t size) {
        const int first = bin_of(size);
        // The block's own bin may hold smaller ones: take the best of it. Any block of a higher bin fits.
        Block* best = nullptr;
        for (Block* b = bins[static_cast<size_t>(first)]; b; b = b->next_free)
            if (b->size >= size && (!best || b->size < best->size)) best = b;
        for (int bin = first + 1; !best && bin < kBins; ++bin) best = bins[static_cast<size_t>(bin)];
        return best;
    }

    Block* grow(size_t size) {
        size_t bytes = size + sizeof(Block);
        bytes = bytes <= kSlabBytes ? kSlabBytes : (bytes + kHugePage - 1) / kHugePage * kHugePage;
        void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) return nullptr;
        madvise(memory, bytes, MADV_HUGEPAGE);
        ++requests;
        reserved += bytes;
        auto* b = new (memory) Block{bytes - sizeof(Block), nullptr, nullptr, nullptr, true, true, Purpose::data};
        push(b);
        return b;
    }

    void split(Block* b, size_t size) {
        if (b->size < size + sizeof(Block) + kAlign) return;
        auto* rest = new (b->payload() + size)
            Block{b->size - size - sizeof(Block), b, nullptr, nullptr, true, b->last, Purpose::data};
        if (Block* after = rest->next()) after->previous = rest;
        b->size = size;
        b->last = false;
        push(rest);
    }

    Block* merge(Block* left, Block* right) {
        left->size += sizeof(Block) + right->size;
        left->last = right->last;
        if (Block* after = left->next()) after->previous = left;
        return left;
    }

    Accounts& of(Device device) {
        return accounts[static_cast<size_t>(device)];
    }
    void book(Device device, Purpose purpose, int64_t bytes) {
        for (Account* a : {&of(device).purposes[static_cast<size_t>(purpose)], &of(device).total}) {
            a->bytes += static_cast<size_t>(bytes);  // a negative number wraps around to less
            a->peak = std::max(a->peak, a->bytes);
            if (bytes > 0) a->given += static_cast<size_t>(bytes);
        }
    }
};

Heap& heap() {
    static Heap* h = new Heap;  // never destroyed: static tensors may outlive it otherwise
    return *h;
}

thread_local Purpose t_purpose = Purpose::activations;

std::string megabytes(size_t bytes) {
    return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

}  // namespace

std::string_view name(Purpose purpose) {
    static constexpr std::array<std::string_view, kPurposes> names = {
        "weights", "gradients", "optimizer", "activations", "kv_cache", "workspace", "data"};
    return names[static_cast<size_t>(purpose)];
}

namespace memory {

void* allocate(size_t bytes, Purpose purpose) {
    const size_t size = std::max(kAlign, (bytes + kAlign - 1) / kAlign * kAlign);
    Heap& h = heap();
    std::lock_guard lock(h.mutex);
    Block* b = size >= bytes ? h.find(size) : nullptr;
    if (!b && size >= bytes) b = h.grow(size);
    if (!b)
        throw Error(
            "out of memory: {} for {} cannot be had, {} are held; use smaller batches or activation checkpointing",
            megabytes(bytes), name(purpose), megabytes(h.of(Device::cpu).total.bytes));
    h.pop(b);
    h.split(b, size);
    b->purpose = purpose;
    h.book(Device::cpu, purpose, static_cast<int64_t>(b->size));
    return b->payload();
}

void free(void* pointer) noexcept {
    if (!pointer) return;
    Heap& h = heap();
    std::lock_guard lock(h.mutex);
    Block* b = static_cast<Block*>(pointer) - 1;
    h.book(Device::cpu, b->purpose, -static_cast<int64_t>(b->size));
    if (Block* after = b->next(); after && after->free) {
        h.pop(after);
        h.merge(b, after);
    }
    if (Block* before = b->previous; before && before->free) {
        h.pop(before);
        b = h.merge(before, b);
    }
    h.push(b);
}

Account account(Purpose purpose, Device device) {
    std::lock_guard lock(heap().mutex);
    return heap().of(device).purposes[static_cast<size_t>(purpose)];
}

Account total(Device device) {
    std::lock_guard lock(heap().mutex);
    return heap().of(device).total;
}

void book(Device device, Purpose purpose, int64_t bytes) {
    std::lock_guard lock(heap().mutex);
    heap().book(device, purpose, bytes);
}

uint64_t system_requests() {
    std::lock_guard lock(heap().mutex);
    return heap().requests;
}

size_t reserved() {
    std::lock_guard lock(heap().mutex);
    return heap().reserved;
}

void reset_peaks() {
    std::lock_guard lock(heap().mutex);
    for (auto& device : heap().accounts) {
        for (Account& a : device.purposes) a.peak = a.bytes;
        device.total.peak = device.total.bytes;
    }
}

std::string report() {
    std::string text;
    const auto line = [&](std::string_view what, const Account& a) {
        text += fmt::format("{:<12} {:>12} {:>12}\n", what, megabytes(a.bytes), megabytes(a.peak));
    };
    for (Device device : {Device::cpu, Device::sim, Device::cuda}) {
        const Account all = total(device);
        if (device != Device::cpu && all.peak == 0) continue;
        text += fmt::format("{:<12} {:>12} {:>12}\n",
                            device == Device::cpu ? "memory" : fmt::format("on {}", name(device)), "now", "peak");
        for (size_t i = 0; i < kPurposes; ++i)
            line(name(static_cast<Purpose>(i)), account(static_cast<Purpose>(i), device));
        line("total", all);
    }
    return text;
}

}  // namespace memory

Purpose current_purpose() {
    return t_purpose;
}

PurposeScope::PurposeScope(Purpose purpose) : previous_(t_purpose) {
    t_purpose = purpose;
}

PurposeScope::~PurposeScope() {
    t_purpose = previous_;
}

StepArena::StepArena(int64_t step) : step_(step) {
    for (size_t i = 0; i < kDevices; ++i) {
        activations_[i] = memory::account(Purpose::activations, static_cast<Device>(i)).bytes;
        workspace_[i] = memory::account(Purpose::workspace, static_cast<Device>(i)).bytes;
    }
}

void StepArena::check() const {
    const auto one = [&](Device device, Purpose purpose, size_t before) {
        const size_t now = memory::account(purpose, device).bytes;
        if (now > before)
            throw TrainingError("step {}: {} of {} on {} outlive the step; something keeps a tensor of the tape alive",
                                step_, megabytes(now - before), name(purpose), name(device));
    };
    for (size_t i = 0; i < kDevices; ++i) {
        one(static_cast<Device>(i), Purpose::activations, activations_[i]);
        one(static_cast<Device>(i), Purpose::workspace, workspace_[i]);
    }
}

}  // namespace wavllm
