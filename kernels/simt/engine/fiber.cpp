#include "kernels/simt/engine/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include "tensor/error.h"

namespace wavllm::simt {

char* new_stack(size_t bytes) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    void* p = mmap(nullptr, page + bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw Error("simt: the system has no {} bytes for the stack of a fiber", bytes);
    // The number of mappings of a process is limited: without its guard page a stack still works, and the engine checks
    // the depth at each load and store of a checked kernel.
    (void)mprotect(p, page, PROT_NONE);
    return static_cast<char*>(p) + page;
}

void delete_stack(char* stack, size_t bytes) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    munmap(stack - page, page + bytes);
}

void prepare(Fiber& fiber, void (*entry)(boost::context::detail::transfer_t)) {
#if defined(__SANITIZE_ADDRESS__)
    // Frames that were left for good have marked their part of the stack as forbidden.
    __asan_unpoison_memory_region(fiber.stack, fiber.stack_bytes);
    fiber.fake_stack = nullptr;
#endif
    fiber.context = boost::context::detail::make_fcontext(fiber.stack + fiber.stack_bytes, fiber.stack_bytes, entry);
}

}  // namespace wavllm::simt
