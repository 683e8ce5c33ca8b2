// Device memory of the emulator as host code sees it. Witness: the rules of memory.h.

#include "kernels/simt/memory.h"

#include <doctest/doctest.h>

#include <vector>

#include "tests/simt/kernels.h"
#include "tests/simt/support.h"

using namespace wavllm;
using namespace wavllm::simt_tests;

namespace {

template <class F>
std::string message(F&& f) {
    try {
        f();
    } catch (const Error& e) {
        return e.what();
    }
    return "no error";
}

}  // namespace

TEST_SUITE_BEGIN("simt");

TEST_CASE("simt memory: accounts, alignment, and whose pointer it is") {
    const simt::MemoryAccount before = simt::memory_account();
    void* p = simt::allocate(1000, "p");
    CHECK(reinterpret_cast<uintptr_t>(p) % 256 == 0);
    CHECK(simt::is_device_pointer(p));
    int local = 0;
    CHECK(!simt::is_device_pointer(&local));
    CHECK(!simt::is_device_pointer(nullptr));
    CHECK(simt::memory_account().bytes == before.bytes + 1000);
    CHECK(simt::memory_account().allocations == before.allocations + 1);
    CHECK(simt::memory_account().peak >= before.bytes + 1000);
    simt::deallocate(p);
    CHECK(simt::memory_account().bytes == before.bytes);
    simt::deallocate(nullptr);
    simt::deallocate(simt::allocate(0));
}

TEST_CASE("simt memory: host mistakes are errors") {
    char* p = static_cast<char*>(simt::allocate(100, "p"));
    char host[200] = {};
    CHECK(message([&] { simt::copy_to_device(p, host, 101); }).find("101 bytes from byte 0 of \"p\" (100 bytes)") !=
          std::string::npos);
    CHECK(message([&] { simt::copy_from_device(host, p, 4); }).find("nobody has written byte 0 of \"p\"") !=
          std::string::npos);
    CHECK(message([&] { simt::copy_to_device(host, host, 4); }).find("is not device memory") != std::string::npos);
    CHECK(message([&] { simt::deallocate(p + 4); }).find("did not come from allocate") != std::string::npos);
    simt::copy_to_device(p + 50, host, 50);
    simt::copy_from_device(host, p + 50, 50);
    simt::mark_written(p, 50);
    simt::copy_from_device(host, p, 100);
    simt::deallocate(p);
    CHECK(message([&] { simt::deallocate(p); }).find("was freed before") != std::string::npos);
    CHECK(message([&] { simt::copy_to_device(p, host, 1); }).find("was freed") != std::string::npos);
    CHECK(message([&] { simt::allocate(size_t{1} << 50); }).find("no room for") != std::string::npos);
}

TEST_CASE("simt memory: quarantine gives the oldest back first, and neighbours join") {
    simt::set_quarantine(0);  // empties it
    // holes that whatever ran before left are filled first: until three blocks lie side by side
    std::vector<char*> blocks;
    const auto side_by_side = [&] {
        const size_t n = blocks.size();
        return n >= 3 && blocks[n - 1] > blocks[n - 2] &&
               blocks[n - 1] - blocks[n - 2] == blocks[n - 2] - blocks[n - 3] &&
               blocks[n - 1] - blocks[n - 2] < (1 << 20) + 4096;
    };
    while (!side_by_side()) {
        REQUIRE(blocks.size() < 1000);
        blocks.push_back(static_cast<char*>(simt::allocate(1 << 20)));
    }
    void *b = blocks[blocks.size() - 2], *a = blocks[blocks.size() - 3];
    simt::deallocate(a);
    simt::deallocate(b);
    blocks.erase(blocks.end() - 3, blocks.end() - 1);
    CHECK(simt::memory_account().quarantine == 0);
    void* both = simt::allocate(2 << 20);  // fits where the two were
    CHECK(both == a);
    simt::deallocate(both);
    for (char* block : blocks) simt::deallocate(block);
    simt::set_quarantine(64 << 20);
    void* c = simt::allocate(1 << 20);
    simt::deallocate(c);
    CHECK(simt::memory_account().quarantine == 1 << 20);
    void* d = simt::allocate(1 << 20);
    CHECK(d != c);
    simt::deallocate(d);
}

TEST_CASE("simt memory: what a launch of the plain build wrote is not called unwritten") {
    OnDevice<float> x(std::vector<float>(1000, 1.0f));
    simt::DeviceArray<float> once(1000), twice(1000);
    copy_twice(Build::simt)(x.data(), once.data(), 1000);
    copy_twice(Build::simt_checked)(once.data(), twice.data(), 1000);
    CHECK(values(twice)[999] == 4);
    simt::DeviceArray<float> later(1000);
    CHECK(error_of([&] {
              copy_twice(Build::simt_checked)(later.data(), twice.data(), 1000);
          }).find("that nobody has written") != std::string::npos);
}

TEST_CASE("simt body: one that was not linked is an error that names it") {
    const CudaBody<void()> missing{"missing"};
    CHECK(!missing.has(Build::simt));
    CHECK(message([&] { missing(Build::gpu)(); }) ==
          "missing: this program has no CUDA body of it for device cuda; is its .cu file linked?");
}

TEST_SUITE_END();
