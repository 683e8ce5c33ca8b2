// Compiled without -march (see CMakeLists.txt). Uses no inline library code: the linker may keep the copy of an inline
// function that another file compiled for the newer CPU.
#include "tensor/cpu_check.h"

#include <string.h>
#include <unistd.h>

#ifndef WAVLLM_NEEDS
#define WAVLLM_NEEDS ""
#endif

namespace wavllm {

int missing_cpu_features(const char* needs, bool (*has)(const char* name), char* missing, size_t capacity) {
    int count = 0;
    size_t used = 0;
    missing[0] = '\0';
    while (true) {
        needs += strspn(needs, " ");
        const size_t length = strcspn(needs, " ");
        if (length == 0) return count;
        char name[32];
        if (length < sizeof name) {
            memcpy(name, needs, length);
            name[length] = '\0';
            if (!has(name)) {
                const size_t separator = count++ == 0 ? 0 : 2;
                if (used + separator + length < capacity) {
                    memcpy(missing + used, ", ", separator);
                    memcpy(missing + used + separator, name, length + 1);
                    used += separator + length;
                }
            }
        }
        needs += length;
    }
}

bool cpu_has_feature(const char* name) {
// clang does not know all of these names.
#if defined(__x86_64__) && !defined(__clang__)
    __builtin_cpu_init();
#define WAVLLM_FEATURE(feature) \
    if (strcmp(name, feature) == 0) return __builtin_cpu_supports(feature) != 0
    WAVLLM_FEATURE("sse3");
    WAVLLM_FEATURE("ssse3");
    WAVLLM_FEATURE("sse4.1");
    WAVLLM_FEATURE("sse4.2");
    WAVLLM_FEATURE("popcnt");
    WAVLLM_FEATURE("avx");
    WAVLLM_FEATURE("avx2");
    WAVLLM_FEATURE("fma");
    WAVLLM_FEATURE("f16c");
    WAVLLM_FEATURE("bmi");
    WAVLLM_FEATURE("bmi2");
    WAVLLM_FEATURE("lzcnt");
    WAVLLM_FEATURE("movbe");
    WAVLLM_FEATURE("adx");
    WAVLLM_FEATURE("gfni");
    WAVLLM_FEATURE("vaes");
    WAVLLM_FEATURE("vpclmulqdq");
    WAVLLM_FEATURE("avxvnni");
    WAVLLM_FEATURE("avx512f");
    WAVLLM_FEATURE("avx512cd");
    WAVLLM_FEATURE("avx512bw");
    WAVLLM_FEATURE("avx512dq");
    WAVLLM_FEATURE("avx512vl");
    WAVLLM_FEATURE("avx512ifma");
    WAVLLM_FEATURE("avx512vbmi");
    WAVLLM_FEATURE("avx512vbmi2");
    WAVLLM_FEATURE("avx512vnni");
    WAVLLM_FEATURE("avx512bitalg");
    WAVLLM_FEATURE("avx512vpopcntdq");
    WAVLLM_FEATURE("avx512bf16");
    WAVLLM_FEATURE("avx512fp16");
    WAVLLM_FEATURE("amx-tile");
    WAVLLM_FEATURE("amx-bf16");
    WAVLLM_FEATURE("amx-int8");
#undef WAVLLM_FEATURE
#endif
    (void)name;
    return true;
}

const char* needed_cpu_features() {
    return WAVLLM_NEEDS;
}

namespace {

// Priority 101 is the first that programs may use: static initialisers of the other files come after it.
__attribute__((constructor(101))) void check_cpu_before_anything_else() {
    char missing[512];
    if (missing_cpu_features(WAVLLM_NEEDS, cpu_has_feature, missing, sizeof missing) == 0) return;
    const auto print = [](const char* text) {
        // Nothing can be done about a closed stderr; the exit code still tells.
        [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, strlen(text));
    };
    print("wavllm: this binary needs CPU features that this CPU (or its operating system) lacks: ");
    print(missing);
    print("; rebuild on this machine (./dev build), or for an older one: WAVLLM_ARCH=x86-64-v2 ./dev build\n");
    _exit(2);
}

}  // namespace
}  // namespace wavllm
