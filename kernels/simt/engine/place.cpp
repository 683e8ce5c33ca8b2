#include "kernels/simt/engine/place.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <mutex>
#include <string_view>

// Without it (see simt.cmake) places are addresses. GCC's libbacktrace; its header lies in a folder of GCC's own that other compilers do not look into.
struct backtrace_state;
#ifdef WAVLLM_NO_BACKTRACE
static backtrace_state* backtrace_create_state(const char*, int, void (*)(void*, const char*, int), void*) {
    return nullptr;
}
template <class... A>
static void backtrace_pcinfo(A...) {}
template <class... A>
static void backtrace_syminfo(A...) {}
extern "C" {
#else
extern "C" {
backtrace_state* backtrace_create_state(const char* filename, int threaded, void (*error)(void*, const char*, int),
                                        void* data);
int backtrace_pcinfo(backtrace_state*, uintptr_t pc, int (*line)(void*, uintptr_t, const char*, int, const char*),
                     void (*error)(void*, const char*, int), void* data);
int backtrace_syminfo(backtrace_state*, uintptr_t address,
                      void (*symbol)(void*, uintptr_t, const char*, uintptr_t, uintptr_t),
                      void (*error)(void*, const char*, int), void* data);
#endif
extern char __executable_start;  // the linker's
}

namespace wavllm::simt {

namespace {

std::mutex mutex;

void no_matter(void*, const char*, int) {}

backtrace_state* state() {
    static backtrace_state* const s = backtrace_create_state(nullptr, 1, no_matter, nullptr);
    return s;
}

bool in_emulator(std::string_view file) {
    return file.find("kernels/simt/") != std::string_view::npos || file.find("/include/") != std::string_view::npos;
}

struct Line {
    std::string file;
    int number = 0;
    bool done = false;
};

int take_line(void* data, uintptr_t, const char* file, int number, const char*) {
    Line& line = *static_cast<Line*>(data);
    if (file == nullptr) return 0;
    line = {file, number, !in_emulator(file)};
    return line.done ? 1 : 0;
}

void take_symbol(void* data, uintptr_t, const char* name, uintptr_t, uintptr_t) {
    if (name != nullptr) *static_cast<std::string*>(data) = name;
}

/// Drops namespaces, the return type and the parameters: "void a::(anonymous namespace)::f<b::T>(int)" is "f<b::T>".
std::string plain_name(std::string name) {
    static constexpr std::string_view unnamed = "(anonymous namespace)::";
    for (size_t at; (at = name.find(unnamed)) != std::string::npos;) name.erase(at, unnamed.size());
    int depth = 0;
    size_t begin = 0, end = 0;
    for (; end < name.size() && (depth > 0 || name[end] != '('); ++end) {
        if (name[end] == '<') ++depth;
        if (name[end] == '>') --depth;
        if (depth == 0 && (name[end] == ':' || name[end] == ' ')) begin = end + 1;
    }
    return name.substr(begin, end - begin);
}

}  // namespace

std::string describe(const Place& place) {
    if (place.site.file != nullptr) return fmt::format("{}:{}", place.site.file, place.site.line);
    if (place.pc == 0) return "unknown line";
    std::lock_guard lock(mutex);
    Line line;
    if (state() != nullptr) backtrace_pcinfo(state(), place.pc - 1, take_line, no_matter, &line);
    if (line.file.empty()) return fmt::format("code at {:#x}, no line known", short_pc(place.pc));
    return fmt::format("{}:{}", line.file, line.number);
}

std::string kernel_name(const void* function) {
    std::lock_guard lock(mutex);
    std::string symbol;
    if (state() != nullptr)
        backtrace_syminfo(state(), reinterpret_cast<uintptr_t>(function), take_symbol, no_matter, &symbol);
    if (symbol.empty()) return "kernel";
    int status = 0;
    char* demangled = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
    if (demangled != nullptr && status == 0) symbol = demangled;
    std::free(demangled);
    return plain_name(symbol);
}

uint32_t short_pc(uintptr_t pc) {
    return static_cast<uint32_t>(pc - reinterpret_cast<uintptr_t>(&__executable_start));
}
uintptr_t long_pc(uint32_t pc) {
    return pc + reinterpret_cast<uintptr_t>(&__executable_start);
}

}  // namespace wavllm::simt
