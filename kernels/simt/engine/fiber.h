#pragma once
// Fibers: a stack and the place to go on. Switching is one jump of Boost.Context, without a system call. Exceptions never
// cross a switch, and a fiber whose block has failed is never resumed; its stack is used again. So kernels must own
// nothing: objects with destructors that matter have no place in device code anyway.

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace wavllm::simt {

struct Fiber {
    boost::context::detail::fcontext_t context = nullptr;
    char* stack = nullptr;  ///< lowest usable byte
    size_t stack_bytes = 0;
    int thread = 0;  ///< the thread of the block that it carries
    bool idle = false;
    [[maybe_unused]] void* fake_stack = nullptr;  ///< AddressSanitizer's

    bool holds(uintptr_t address) const {
        return address - reinterpret_cast<uintptr_t>(stack) < stack_bytes;
    }
};

/// A stack from the system with an unusable page below it where the system allows that. Kept until the thread ends.
char* new_stack(size_t bytes);
void delete_stack(char* stack, size_t bytes);
/// (Re)starts `fiber` at `entry`; what was on its stack is forgotten.
void prepare(Fiber& fiber, void (*entry)(boost::context::detail::transfer_t));

/// First thing on a stack that was switched to: `from` is the fiber that did it.
inline void arrived(Fiber& self, boost::context::detail::transfer_t t) {
    Fiber& from = *static_cast<Fiber*>(t.data);
    from.context = t.fctx;
#if defined(__SANITIZE_ADDRESS__)
    const void* bottom = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(self.fake_stack, &bottom, &bytes);
    if (from.stack == nullptr) {  // a thread's own stack, whose place only the sanitizer knows
        from.stack = static_cast<char*>(const_cast<void*>(bottom));
        from.stack_bytes = bytes;
    }
#else
    (void)self;
#endif
}

/// Leaves `from` and goes on in `to`; returns when somebody switches back.
inline void switch_to(Fiber& from, Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
#endif
    arrived(from, boost::context::detail::jump_fcontext(to.context, &from));
}

}  // namespace wavllm::simt
