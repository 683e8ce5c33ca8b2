#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "tensor/tensor.h"

namespace wavllm {

/// Sees intermediate results by name as a model runs ("layer3", "layer0.keys", ...): for `wavllm verify`, reports and
/// probes.
using Observer = std::function<void(const std::string& name, const Tensor& value)>;

inline void observe(const Observer* observer, std::string_view name, const Tensor& value) {
    if (observer) (*observer)(std::string(name), value);
}

}  // namespace wavllm
