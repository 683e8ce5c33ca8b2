#pragma once
// What `wavllm bench kernels` shows on the CPU and on a GPU: time, against the roofs of the machine (Williams et al. 2009,
// "Roofline").

#include "wavllm/bench/cases.h"
#include "wavllm/bench/machine.h"
#include "wavllm/bench/timing.h"

namespace wavllm {

struct KernelTime {
    const Op* op;
    const OpCase* op_case;
    Timing forward, backward;
    bool has_backward = false;
};

KernelTime time_kernel(const BenchCase& c, Device device, int runs);
nlohmann::ordered_json to_json(const KernelTime& t, const Machine& machine);
void print(const std::vector<KernelTime>& times, const Machine& machine);

}  // namespace wavllm
