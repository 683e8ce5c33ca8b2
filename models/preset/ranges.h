#pragma once
// The range of every number in a preset.

#include "models/preset/values.h"

namespace wavllm {

/// Throws UsageError, naming value and range, for the first number in `table` that is out of its range (a NaN is out of
/// any), or that has none here. Names are those of a preset, or of a stage behind "stage.".
void check_ranges(const ValueTable& table, const std::string& source);

}  // namespace wavllm
