#pragma once
// Lines of source, from debug information.

#include <cstdint>
#include <string>

#include "kernels/simt/host/device_api.h"

namespace wavllm::simt {

/// A place in a kernel: told by an intrinsic, or the return address of a load's or store's report.
struct Place {
    Site site;
    uintptr_t pc = 0;
    bool known() const {
        return site.file != nullptr || pc != 0;
    }
};

/// "kernels/rms_norm/rms_norm.cu:41". Of code that was inlined, the innermost line outside the emulator's own headers.
std::string describe(const Place& place);
/// A kernel's name with template arguments, without namespaces and parameters: "rms_norm_kernel<float>".
std::string kernel_name(const void* function);

/// Addresses of code fit 32 bits when counted from the program's start.
uint32_t short_pc(uintptr_t pc);
uintptr_t long_pc(uint32_t pc);

}  // namespace wavllm::simt
