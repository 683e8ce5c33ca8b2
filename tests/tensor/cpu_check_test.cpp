// Witness: lists written by hand; and this binary, which runs, so its own CPU must have all it needs.

#include "tensor/cpu_check.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

namespace {

// An old CPU: AVX2 but none of AVX-512.
bool old_cpu(const char* name) {
    return std::strncmp(name, "avx512", 6) != 0;
}

std::string missing(const char* needs, bool (*has)(const char*), size_t capacity = 512, int expected_count = -1) {
    std::string buffer(capacity + 1, '#');
    const int count = wavllm::missing_cpu_features(needs, has, buffer.data(), capacity);
    CHECK(buffer[capacity] == '#');  // nothing is written behind the buffer
    if (expected_count >= 0) CHECK(count == expected_count);
    return buffer.substr(0, buffer.find('\0'));
}

}  // namespace

TEST_CASE("cpu_check: names what a CPU lacks") {
    CHECK(missing("", old_cpu, 512, 0).empty());
    CHECK(missing("avx2 fma", old_cpu, 512, 0).empty());
    CHECK(missing("avx512f", old_cpu, 512, 1) == "avx512f");
    CHECK(missing("  avx2 avx512f  fma avx512bf16 ", old_cpu, 512, 2) == "avx512f, avx512bf16");
}

TEST_CASE("cpu_check: a buffer that is too short cuts whole names and keeps the count") {
    CHECK(missing("avx512f avx512bw", old_cpu, 1, 2).empty());
    CHECK(missing("avx512f avx512bw", old_cpu, 8, 2) == "avx512f");
    CHECK(missing("avx512f avx512bw", old_cpu, 17, 2) == "avx512f");
    CHECK(missing("avx512f avx512bw", old_cpu, 18, 2) == "avx512f, avx512bw");
}

TEST_CASE("cpu_check: this binary runs on a CPU that has all it needs") {
    CHECK(missing(wavllm::needed_cpu_features(), wavllm::cpu_has_feature, 512, 0).empty());
    CHECK(wavllm::cpu_has_feature("a feature that nobody knows"));
#if defined(__AVX2__)
    CHECK(std::string(wavllm::needed_cpu_features()).find("avx2") != std::string::npos);
#endif
#if defined(__AVX512BF16__)
    CHECK(std::string(wavllm::needed_cpu_features()).find("avx512bf16") != std::string::npos);
#endif
}
