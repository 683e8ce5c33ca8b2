#include <fmt/format.h>

#include <cstdlib>
#include <numeric>

#include "kernels/simt/body.h"
#include "kernels/simt/emulator.h"
#include "kernels/simt/engine/block.h"
#include "kernels/simt/engine/shadow.h"
#include "kernels/simt/record.h"
#include "tensor/thread_pool.h"

namespace wavllm::simt {

namespace {

uint64_t seed_from_environment() {
    const char* text = std::getenv("WAVLLM_SIMT_SEED");
    if (text == nullptr || *text == 0) return 0;
    char* end = nullptr;
    const uint64_t value = std::strtoull(text, &end, 10);
    if (*end != 0) throw UsageError("WAVLLM_SIMT_SEED must be a whole number, not \"{}\"", text);
    return value;
}

std::atomic<uint64_t>& seed_setting() {
    static std::atomic<uint64_t> s{seed_from_environment()};
    return s;
}
std::atomic<bool> races_setting{true};
std::atomic<uint32_t> launches{0};

void check_shape(const LaunchShape& s, const Call& call) {
    const auto refuse = [&](const std::string& why) {
        throw UsageError("launch of {}: {}", s.name != nullptr ? s.name : kernel_name(call.kernel), why);
    };
    const dim3 g = s.grid, b = s.block;
    const uint64_t threads = uint64_t{b.x} * b.y * b.z;
    if (threads > max_threads || b.z > 64)
        refuse(fmt::format("a block of ({},{},{}) = {} threads; {} is the most (and 64 in z); use more blocks", b.x,
                           b.y, b.z, threads, max_threads));
    if (threads == 0 || g.x == 0 || g.y == 0 || g.z == 0)
        refuse(fmt::format("grid ({},{},{}) of blocks ({},{},{}) is empty; do not launch for an empty tensor", g.x, g.y,
                           g.z, b.x, b.y, b.z));
    if (g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
        refuse(fmt::format("grid ({},{},{}); the most is (2147483647,65535,65535)", g.x, g.y, g.z));
    if (s.shared_bytes > max_shared)
        refuse(
            fmt::format("{} bytes of shared memory; {} is the most a block has on sm_80", s.shared_bytes, max_shared));
    if (current_block != nullptr) refuse("a kernel cannot launch another");
}

Block& block_of_this_thread() {
    thread_local Block block;
    return block;
}

/// i -> a permutation of [0, n).
struct Permutation {
    uint64_t n, factor = 1, shift = 0;
    Permutation(uint64_t size, uint64_t seed) : n(size) {
        if (seed == 0) return;
        shift = seed % n;
        for (factor = (seed * 0x9e3779b97f4a7c15u >> 20) % n; std::gcd(factor, n) != 1;) factor = (factor + 1) % n;
    }
    int64_t operator()(int64_t i) const {
        return static_cast<int64_t>((static_cast<unsigned __int128>(i) * factor + shift) % n);
    }
};

}  // namespace

uint64_t seed() {
    return seed_setting();
}
void set_seed(uint64_t s) {
    seed_setting() = s;
}
bool races_checked() {
    return races_setting;
}
void set_races_checked(bool on) {
    races_setting = on;
}

void run(const LaunchShape& shape, const Call& call) {
    check_shape(shape, call);
    if (LaunchList* list = recording_to()) return list->add(shape, call);
    Launch launch;
    launch.shape = shape;
    launch.call = call;
    launch.threads = static_cast<int>(shape.block.x * shape.block.y * shape.block.z);
    launch.warps = (launch.threads + 31) / 32;
    launch.seed = seed();
    launch.counting = Recording::active() != nullptr;
    launch.races = races_checked();
    while (launch.serial == 0) launch.serial = ++launches;
    const int64_t blocks = int64_t{shape.grid.x} * shape.grid.y * shape.grid.z;
    launch.concurrent = num_threads() > 1;
    if (!shape.checked)
        note_unwatched_launch();
    else if (launch.races)
        need_device_cells();

    const Permutation order(static_cast<uint64_t>(blocks), launch.seed);
    const int64_t chunk = std::max<int64_t>(1, blocks / (int64_t{8} * num_threads()));
    parallel_for(blocks, chunk, [&](int64_t begin, int64_t end) {
        Block& block = block_of_this_thread();
        for (int64_t i = begin; i < end; ++i) {
            const int64_t linear = order(i);
            // After an error only lower blocks still run, so that the error of the lowest is thrown in any order.
            if (linear < launch.first_fault.load(std::memory_order_relaxed)) block.run(launch, linear);
        }
    });
    if (!launch.fault.empty()) throw KernelError(launch.fault);
    if (Recording* recording = Recording::active()) {
        launch.counters.flops += shape.flops;
        recording->add({shape.name != nullptr ? shape.name : kernel_name(call.kernel), shape.grid, shape.block,
                        shape.checked, launch.counters});
    }
}

void throw_no_body(const char* name, Build build) {
    static constexpr const char* devices[] = {"cuda", "sim", "sim (with checks)"};
    throw UsageError("{}: this program has no CUDA body of it for device {}; is its .cu file linked?", name,
                     devices[static_cast<int>(build)]);
}

}  // namespace wavllm::simt
