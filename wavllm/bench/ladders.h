#pragma once
// `wavllm bench kernels --ladder`: the steps from a naive kernel to the one that the op runs.

#include <string>

#include "tensor/device.h"

namespace wavllm {

/// op: of which ladder, or "" for all. json: a file, "-" for stdout, or "" for none. Throws UsageError for an op without a
/// ladder and for the CPU, which has no CUDA bodies.
void bench_ladders(Device device, const std::string& op, int runs, const std::string& json);

}  // namespace wavllm
