#include "kernels/simt/engine/shared_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>

#include "kernels/simt/emulator.h"
#include "kernels/simt/engine/block.h"
#include "kernels/simt/engine/shadow.h"

namespace wavllm::simt {

namespace {

constexpr size_t cell_bytes = shared_capacity / 4 * sizeof(Cell);

template <class T>
T* map(size_t bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw Error("simt: the system has no {} bytes for the shared memory of blocks", bytes);
    return static_cast<T*>(p);
}

}  // namespace

void allocate_shared(unsigned char*& memory, unsigned char*& states, Cell*& cells) {
    memory = map<unsigned char>(shared_capacity);
    states = map<unsigned char>(shared_capacity);
    cells = map<Cell>(cell_bytes);
}

void free_shared(unsigned char* memory, unsigned char* states, Cell* cells) {
    munmap(memory, shared_capacity);
    munmap(states, shared_capacity);
    munmap(cells, cell_bytes);
}

void reset_shared(unsigned char* memory, unsigned char* states, size_t used, size_t dynamic_bytes) {
    std::memset(states, outside, used);
    fill_poison(memory, dynamic_bytes);
    std::memset(states, unwritten, dynamic_bytes);
}

void* Block::shared_variable(const void* key, const char* name, size_t bytes) {
    for (const Variable& v : variables_)
        if (v.key == key) return shared_ + v.offset;
    static_bytes_ += (bytes + 15) / 16 * 16;
    if (static_bytes_ > max_static_shared) {
        Fault f{current_,
                fmt::format("declares shared variable \"{}\" of {} bytes; that makes {} bytes of static shared "
                            "memory, and {} is the most; take WAVLLM_DYNAMIC_SHARED",
                            name, bytes, static_bytes_, max_static_shared)};
        fail(std::move(f));
    }
    const size_t offset = shared_used_;
    variables_.push_back({key, name, offset, bytes});
    shared_used_ = offset + shared_round(bytes);
    fill_poison(shared_ + offset, bytes);
    std::memset(shared_state_ + offset, unwritten, bytes);
    return shared_ + offset;
}

void* Block::dynamic_shared(size_t alignment, uintptr_t pc) {
    if (launch_->shape.shared_bytes == 0) {
        Fault f{current_, "uses dynamic shared memory, but the launch gave none", {{}, pc}};
        f.hint = "; set LaunchConfig::shared_bytes";
        fail(std::move(f));
    }
    (void)alignment;  // the begin is aligned to 4096
    return shared_;
}

std::string Block::shared_name(size_t offset) const {
    // The nearest variable that begins at or before the address, else the dynamic part.
    const size_t dynamic = launch_->shape.shared_bytes;
    const Variable* nearest = nullptr;
    for (const Variable& v : variables_)
        if (v.offset <= offset) nearest = &v;
    const size_t begin = nearest != nullptr ? nearest->offset : 0;
    const size_t bytes = nearest != nullptr ? nearest->bytes : dynamic;
    const std::string name = nearest != nullptr ? fmt::format("\"{}\"", nearest->name) : "the launch's dynamic part";
    if (offset < begin + bytes) return name;
    const size_t beyond = offset - begin - bytes;
    // Shortly before a variable is more likely an index of -1 there than one far beyond its neighbour.
    for (const Variable& v : variables_)
        if (v.offset > offset && v.offset - offset <= 16 && v.offset - offset < beyond)
            return fmt::format("{} bytes before \"{}\"", v.offset - offset, v.name);
    return fmt::format("{} bytes beyond the {} of {}", beyond, bytes, name);
}

}  // namespace wavllm::simt
