#pragma once
// What this machine can do at most, measured with the threads of this process.

#include <nlohmann/json.hpp>

namespace wavllm {

struct Machine {
    int threads = 0;
    double flops = 0;      ///< floating-point operations per second of a large f32 matrix product
    double bandwidth = 0;  ///< bytes per second read from memory (512 MB summed: beyond the caches)
    double load = 0;       ///< processes that wanted a core in the last minute, before the measurement began

    nlohmann::ordered_json to_json() const;
    void print() const;
};

/// Takes about two seconds. The best of several runs counts: a roof is what the machine reaches when nothing disturbs
/// it.
Machine measure_machine();

/// Processes that wanted a core in the last minute: above the number of cores, timings are too long.
double load_average();

}  // namespace wavllm
