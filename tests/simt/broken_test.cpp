// Each mistake of broken.cu is caught, under every order of threads, with an error that names the kernel, the block, the
// thread and the line. Witness: the kernels themselves, whose mistakes are known.

#include <doctest/doctest.h>

#include <fstream>

#include "tests/simt/kernels.h"
#include "tests/simt/support.h"

using namespace wavllm;
using namespace wavllm::simt_tests;

namespace {

/// "(tests/simt/broken.cu:17)" for the line that carries `mark` in its comment.
std::string line_with(const std::string& mark) {
    std::ifstream file(WAVLLM_SOURCE_DIR "/tests/simt/broken.cu");
    std::string line;
    for (int number = 1; std::getline(file, line); ++number) {
        const size_t comment = line.find("//"), at = line.find(mark);
        if (comment == std::string::npos || at == std::string::npos || at < comment) continue;
        const char after = at + mark.size() < line.size() ? line[at + mark.size()] : ' ';
        if (after == ' ' || after == ',') return fmt::format("(tests/simt/broken.cu:{})", number);
    }
    return "no line carries " + mark;
}

constexpr size_t memory_size = 128;

std::string run(const char* which, Build build, uint64_t seed) {
    SeedScope scope(seed);
    OnDevice<float> memory(std::vector<float>(memory_size, 1.0f), "memory");
    return error_of([&] { broken(build)(which, memory.data(), static_cast<int>(memory_size)); });
}

struct Expectation {
    const char* kernel;
    std::vector<const char*> parts;  // that stand in the error in this order
    bool needs_checks = true;        // false: the plain build finds it too
};

bool in_order(const std::string& text, const std::vector<std::string>& parts) {
    size_t from = 0;
    for (const std::string& part : parts) {
        const size_t at = text.find(part, from);
        if (at == std::string::npos) return false;
        from = at + part.size();
    }
    return true;
}

/// The error begins with kernel, block and thread, says the parts and names the marked lines.
void expect(const Expectation& e) {
    const std::string kernel = e.kernel, here = line_with("<- " + kernel), there = line_with("<< " + kernel);
    for (const uint64_t seed : {0, 1, 2, 3, 12345}) {
        for (const Build build : {Build::simt_checked, Build::simt}) {
            if (build == Build::simt && e.needs_checks) continue;
            const std::string error = run(e.kernel, build, seed);
            std::vector<std::string> parts{kernel + ": block ("};
            parts.insert(parts.end(), e.parts.begin(), e.parts.end());
            CHECK_MESSAGE(in_order(error, parts), error);
            if (here.starts_with("(")) CHECK_MESSAGE(in_order(error, {here}), error, " lacks ", here);
            if (there.starts_with("(")) CHECK_MESSAGE(in_order(error, {there}), error, " lacks ", there);
        }
    }
}

}  // namespace

TEST_SUITE_BEGIN("simt");

TEST_CASE("simt catches: races, and the barriers that should have been there") {
    expect({"missing_barrier",
            {"shared memory, \"box\"", "in a race with thread (", "a barrier must stand between the two"}});
    expect({"missing_syncwarp", {"shared memory, \"box\"", "in a race with thread ("}});
    expect({"second_barrier_missing", {"shared memory, \"box\"", "in a race with thread ("}});
    expect({"race_on_shared", {"writes shared memory, \"last\"", "in a race with thread (", "which writes it"}});
    expect({"race_on_global", {"writes global memory, byte", "of \"memory\" (512 bytes)", "in a race with thread ("}});
    expect({"race_of_halves", {"writes global memory", "in a race with thread ("}});
    expect(
        {"race_between_blocks",
         {"writes global memory", "in a race with thread (", "of block number", "blocks of one launch have no order"}});
    expect({"atomic_and_plain", {"global memory", "in a race with thread ("}});
}

TEST_CASE("simt catches: threads that wait for what never comes") {
    expect({"divergent_barrier",
            {"comes to __syncthreads (tests/simt/broken.cu:", ", but thread (",
             "waits at another barrier, __syncthreads (", "all threads of a block must come to the same one"},
            false});
    expect({"barrier_and_shuffle",
            {"waits for ever at __shfl_sync with mask 0xffffffff",
             "thread (3,0,0) never arrives, it waits at __syncthreads"},
            false});
    expect({"named_barrier_too_few",
            {"waits for ever at named barrier 2", "64 threads are to meet there, 32 came"},
            false});
}

TEST_CASE("simt catches: masks that do not fit the warp") {
    expect({"shuffle_from_exited", {"__shfl_sync", "mask 0xffffffff", "which names thread (", "has exited"}, false});
    expect({"mask_without_self", {"calls __shfl_sync with mask 0x0000ffff", "does not name its own lane"}, false});
    expect({"masks_differ",
            {"calls __shfl_sync with mask", "waits for it in __shfl_sync with mask", "the same mask"},
            false});
    expect({"operations_differ", {"but thread (", "waits for it in __", "must call the same operation"}, false});
    expect({"source_not_in_mask", {"reads lane 20 in __shfl_sync, which mask 0x0000ffff does not name"}, false});
    expect({"lane_does_not_exist",
            {"calls __shfl_down_sync with mask 0xffffffff", "which names lane 16",
             "48 threads leave this warp only 16 lanes"},
            false});
    expect({"odd_width", {"and width 12; a width is 1, 2, 4, 8, 16 or 32"}, false});
    expect({"mma_in_half_a_warp", {"thread (", "mma_m16n8k16"}, false});
}

TEST_CASE("simt catches: shared memory out of bounds or never written") {
    // n is 128; the kernels are told 1.
    for (const char* kernel : {"shared_read_beyond", "shared_write_beyond", "shared_before"}) {
        for (const uint64_t seed : {0, 1, 2, 3, 12345}) {
            SeedScope scope(seed);
            OnDevice<float> memory(std::vector<float>(memory_size, 1.0f), "memory");
            const std::string error = error_of([&] { broken(Build::simt_checked)(kernel, memory.data(), 1); });
            const bool before = std::string(kernel) == "shared_before";
            CHECK_MESSAGE(
                in_order(error, {std::string(kernel) + ": block (0,0,0) thread (" + (before ? "0" : "31") + ",0,0)",
                                 "4 bytes of shared memory out of bounds",
                                 before ? "4 bytes before \"right\"" : "0 bytes beyond the 128 of \"box\"",
                                 line_with("<- " + std::string(kernel))}),
                error);
        }
    }
    expect({"unwritten_shared", {"thread (31,0,0) reads shared memory that no thread has written, \"box\""}});
    expect({"stale_shared", {"reads shared memory that no thread has written, \"box\""}});
    expect({"dynamic_too_small",
            {"writes 4 bytes of shared memory out of bounds", "beyond the 256 of the launch's dynamic part"}});
    expect({"static_too_large",
            {"declares shared variable \"box\" of 50176 bytes", "49152 is the most", "WAVLLM_DYNAMIC_SHARED"},
            false});
    CHECK(run("dynamic_missing", Build::simt, 0).find("the launch gave none") != std::string::npos);
    expect({"dynamic_missing", {"uses dynamic shared memory, but the launch gave none", "LaunchConfig::shared_bytes"}});
}

TEST_CASE("simt catches: global memory out of bounds, never written, misaligned, or not of the device") {
    expect({"global_read_beyond",
            {"thread (31,0,0) reads 4 bytes of global memory out of bounds",
             "0 bytes beyond the end of \"memory\" (512 bytes)"}});
    expect({"global_write_beyond",
            {"thread (31,0,0) writes 4 bytes of global memory out of bounds", "0 bytes beyond the end of \"memory\""}});
    expect({"half_beyond",
            {"thread (31,0,0) writes 2 bytes of global memory out of bounds", "0 bytes beyond the end of"}});
    expect({"misaligned_vector", {"reads 16 bytes at an address that is not a multiple of 16"}});
    expect({"host_pointer", {"reads 4 bytes at 0x", "no device memory", "a pointer to host memory"}});
    expect({"null_pointer", {"writes 4 bytes at 0x", "no device memory", "a null pointer"}});
    expect({"others_local", {"reads 4 bytes at 0x", "it is a local variable of another thread"}});
    expect({"stack_used_up", {"has used up its stack of"}});
    expect({"failed_assert", {"stops: assert(n < 0)"}, false});

    OnDevice<float> memory(std::vector<float>(memory_size, 1.0f), "memory");
    const std::string before = error_of([&] { broken(Build::simt_checked)("global_before", memory.data(), 1); });
    CHECK_MESSAGE(
        in_order(before, {"global_before: block (0,0,0) thread (0,0,0) writes 4 bytes of global memory out of bounds, "
                          "4 bytes before \"memory\"",
                          line_with("<- global_before")}),
        before);

    simt::DeviceArray<float> fresh(memory_size, "fresh");
    const std::string unwritten = error_of([&] { broken(Build::simt_checked)("unwritten_global", fresh.data(), 128); });
    CHECK_MESSAGE(in_order(unwritten,
                           {"reads 4 bytes of global memory that nobody has written, byte 508 of \"fresh\" (512 bytes)",
                            line_with("<- unwritten_global")}),
                  unwritten);

    float* dangling = static_cast<float*>(simt::allocate(512, "gone"));
    simt::deallocate(dangling);
    const std::string freed = error_of([&] { broken(Build::simt_checked)("use_after_free", dangling, 128); });
    CHECK_MESSAGE(
        in_order(freed, {"use_after_free: block (0,0,0) thread (0,0,0) writes 4 bytes of global memory after it was "
                         "freed, byte 0 of \"gone\" (512 bytes)",
                         line_with("<- use_after_free")}),
        freed);
}

TEST_CASE("simt catches: asynchronous copies that nobody waited for") {
    expect({"copy_not_waited_for",
            {"reads shared memory while a cp.async is copying to it, \"box\"", "wait for the copy's group"}});
    expect({"copy_without_barrier", {"in a race with thread ("}});
    expect({"copy_into_read_buffer", {"shared memory", "in a race with thread ("}});
}

TEST_CASE("simt refuses launches that no GPU takes") {
    OnDevice<float> memory(std::vector<float>(memory_size, 1.0f));
    for (const Build build : {Build::simt, Build::simt_checked}) {
        const auto message = [&](const char* which) -> std::string {
            try {
                broken(build)(which, memory.data(), 1);
            } catch (const UsageError& e) {
                return e.what();
            }
            return "no error";
        };
        CHECK(message("2048 threads") ==
              "launch of use_after_free: a block of (2048,1,1) = 2048 threads; 1024 is the most (and "
              "64 in z); use more blocks");
        CHECK(message("no blocks").find("is empty") != std::string::npos);
        CHECK(message("200 KiB shared").find("204800 bytes of shared memory; 166912 is the most") != std::string::npos);
        CHECK(message("grid of 70000 in y").find("the most is") != std::string::npos);
    }
}

TEST_CASE("simt: after an error the emulator goes on as if nothing had been") {
    for (int i = 0; i < 20; ++i) {
        CHECK(run("divergent_barrier", Build::simt_checked, 0) != "no error");
        OnDevice<int> lock({0}), count({0});
        spin_lock(Build::simt_checked)(lock.data(), count.data(), 64);
        CHECK(values(count)[0] == 64);
    }
}

TEST_CASE("simt: the error is that of the lowest block, whatever ran first") {
    for (const uint64_t seed : {0, 1, 2, 3, 4, 5, 6, 7}) {
        const std::string error = run("race_between_blocks", Build::simt_checked, seed);
        CHECK(error != "no error");
    }
    CHECK(run("stale_shared", Build::simt_checked, 9).find("block (1,0,0)") != std::string::npos);
}

TEST_SUITE_END();
