#pragma once
// What this machine can do at most, measured: the CPU with the threads of this process, or its GPU.

#include <nlohmann/json.hpp>
#include <string>

#include "tensor/device.h"

namespace wavllm {

struct Machine {
    Device device = Device::cpu;
    std::string gpu{};  ///< its name
    int threads = 0;
    double flops = 0;       ///< floating-point operations per second of a large f32 matrix product
    double bf16_flops = 0;  ///< of one with factors in bf16 (by cuBLASLt if the build has it); 0: not measured
    double bandwidth = 0;   ///< bytes per second of memory; CPU: 512 MB read, GPU: 512 MB copied, read and written
    double load = 0;        ///< processes that wanted a core in the last minute, before the measurement began

    nlohmann::ordered_json to_json() const;
    void print() const;
};

/// Takes about two seconds. The best of several runs counts: a roof is what the machine reaches when nothing disturbs
/// it.
Machine measure_machine(Device device = Device::cpu);

/// Processes that wanted a core in the last minute: above the number of cores, timings are too long.
double load_average();

}  // namespace wavllm
