#pragma once
// Trainable parameters by name, in a fixed order: what optimisers, checkpoints, reports and gradient checks walk over.

#include <array>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace wavllm {

/// Groups that learning rates, freezing and reports speak of. The last three are whole models, which only pre-training
/// trains.
inline constexpr std::array<std::string_view, 7> kParameterGroups{"adapter", "lora",  "ctc",    "prompt",
                                                                  "wavlm",   "llama", "whisper"};

struct Parameter {
    static constexpr int64_t kAlways = std::numeric_limits<int64_t>::max();

    std::string name;   ///< as in a released checkpoint where it has one
    Tensor tensor;      ///< shares storage and gradient slot with the module's own
    std::string group;  ///< one of kParameterGroups
    /// In so many of its group's first updates an exactly zero gradient is expected (1: LoRA's A, while B is zero).
    int64_t zero_updates = 0;
};

using Parameters = std::vector<Parameter>;

/// Marks a new trainable tensor, named for error messages, and puts it on model_device(), in model_dtype().
Tensor make_parameter(Tensor t, const std::string& name);
/// Values drawn uniformly from [-bound, bound] by Philox(seed, name): the same on any machine, and the same
/// in f64 as in f32.
Tensor uniform_parameter(const Shape& shape, double bound, uint64_t seed, const std::string& name);
/// Normal with mean 0, likewise.
Tensor normal_parameter(const Shape& shape, double deviation, uint64_t seed, const std::string& name);
Tensor constant_parameter(const Shape& shape, double value, const std::string& name);

int64_t count(const Parameters& parameters);

}  // namespace wavllm
