// Where kernels enter the engine: the emulated intrinsics, and the reports of loads and stores. The latter are the calls
// that g++ -fsanitize=thread puts before every access to memory that is not a register; ThreadSanitizer's own runtime is
// never linked, these functions stand in its place. Their return address is the place of the access.

#include "kernels/simt/emulator.h"
#include "kernels/simt/engine/block.h"

#define RETURN_ADDRESS reinterpret_cast<uintptr_t>(__builtin_return_address(0))

namespace wavllm::simt {

namespace {

Block& here() {
    if (current_block == nullptr) throw UsageError("simt: an intrinsic of device code was called by host code");
    return *current_block;
}

}  // namespace

uint3 thread_index() {
    return here().thread_index();
}
uint3 block_index() {
    return here().block_index();
}
dim3 block_size() {
    return here().launch().shape.block;
}
dim3 grid_size() {
    return here().launch().shape.grid;
}
int barrier(Barrier kind, int predicate, Site where) {
    return here().barrier(kind, predicate, where);
}
void named_barrier(int id, int threads, Site where) {
    here().named_barrier(id, threads, where);
}
void warp_operation(WarpRequest& request) {
    request.pc = RETURN_ADDRESS;
    here().warp_operation(request);
}
uint64_t atomic(AtomicOp op, AtomicType type, void* address, uint64_t value, uint64_t compare) {
    return here().atomic(op, type, address, value, compare, RETURN_ADDRESS);
}
void thread_fence(bool whole_device) {
    here().thread_fence(whole_device);
}
void copy_async(void* shared, const void* global, unsigned bytes, unsigned read_bytes) {
    here().copy_async(shared, global, bytes, read_bytes, RETURN_ADDRESS);
}
void copy_async_commit() {
    here().copy_async_commit();
}
void copy_async_wait(int groups_in_flight) {
    here().copy_async_wait(groups_in_flight, RETURN_ADDRESS);
}
void* shared_variable(const void* key, const char* name, size_t bytes) {
    return here().shared_variable(key, name, bytes);
}
void* dynamic_shared(size_t alignment) {
    return here().dynamic_shared(alignment, RETURN_ADDRESS);
}
void trap(const char* what, Site where) {
    Block& block = here();
    Fault f{block.running().thread, std::string("stops: ") + what, {where}};
    block.fail(std::move(f));
}

}  // namespace wavllm::simt

// In a build that is itself under ThreadSanitizer these names are taken: checked kernels are left out of it.
#ifndef __SANITIZE_THREAD__

namespace {

using wavllm::simt::Access;

inline void report(const void* address, size_t bytes, Access kind, uintptr_t pc, bool aligned) {
    wavllm::simt::Block* block = wavllm::simt::current_block;
    if (block != nullptr && block->checked()) block->access(address, bytes, kind, pc, aligned);
}

}  // namespace

#define SIMT_HOOKS(bytes)                                       \
    void __tsan_read##bytes(void* p) {                          \
        report(p, bytes, Access::read, RETURN_ADDRESS, true);   \
    }                                                           \
    void __tsan_write##bytes(void* p) {                         \
        report(p, bytes, Access::write, RETURN_ADDRESS, true);  \
    }                                                           \
    void __tsan_unaligned_read##bytes(void* p) {                \
        report(p, bytes, Access::read, RETURN_ADDRESS, false);  \
    }                                                           \
    void __tsan_unaligned_write##bytes(void* p) {               \
        report(p, bytes, Access::write, RETURN_ADDRESS, false); \
    }

extern "C" {
SIMT_HOOKS(1)
SIMT_HOOKS(2)
SIMT_HOOKS(4)
SIMT_HOOKS(8)
SIMT_HOOKS(16)
void __tsan_read_range(void* p, unsigned long bytes) {
    if (bytes > 0) report(p, bytes, Access::read, RETURN_ADDRESS, false);
}
void __tsan_write_range(void* p, unsigned long bytes) {
    if (bytes > 0) report(p, bytes, Access::write, RETURN_ADDRESS, false);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}
/// The guard of a function's static variable.
unsigned char __tsan_atomic8_load(const volatile unsigned char* p, int) {
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
}

#endif
