#pragma once
// What `wavllm bench kernels` shows on the emulator: what the loads and stores of each kernel cost (docs/simt.md,
// "Counters"). Times of the emulator say nothing about a GPU's.

#include <nlohmann/json.hpp>

#include "kernels/simt/counters.h"
#include "wavllm/bench/cases.h"

namespace wavllm {

/// All launches of one kernel with one grid and block.
struct KernelCounters {
    std::string kernel;
    dim3 grid, block;
    int64_t launches = 0;
    simt::Counters counters;

    nlohmann::ordered_json to_json() const;
};

/// What one pass of a case launched.
struct PassCounters {
    std::string op, op_case, pass;  ///< pass: forward, backward, or a step of a ladder
    std::vector<KernelCounters> kernels;

    simt::Counters total() const;
    int64_t launches() const;
    nlohmann::ordered_json to_json() const;
};

/// While one lives, `sim` runs the build that sees every load and store.
class CheckedEmulator {
public:
    CheckedEmulator();
    ~CheckedEmulator();
    CheckedEmulator(const CheckedEmulator&) = delete;
    CheckedEmulator& operator=(const CheckedEmulator&) = delete;

private:
    bool before_;
};

/// Bytes that the sectors of global memory hold which were moved.
double bytes_moved(const simt::Counters& c);

/// Runs `work` in the checked build.
std::vector<KernelCounters> count_kernels(const std::function<void()>& work);
/// Forward, and backward if the op has one.
std::vector<PassCounters> count_case(const BenchCase& c);

/// A line a kernel; below it, which ones move more than 1.05 times the sectors they need or have bank conflicts.
void print(const std::vector<PassCounters>& passes);

}  // namespace wavllm
