#pragma once
// The golden folder of a tiny WavLLM: case.json, and what its tensors are held to.

#include <filesystem>
#include <nlohmann/json.hpp>

#include "wavllm/verify/comparison.h"

namespace wavllm::verify {

/// Adds every golden value of the folder: all tensors of its safetensors files but weights (float tolerance: 10 times
/// the f32_rel of case.json, at least 1e-5, relative to max_abs; in the reference mode 2^-23), the tokens and texts of
/// case.json and tokens.json.
/// Says which are inputs and which belong to parts that are not built yet. Throws FileError.
void expect_tiny(Comparison& comparison, const std::filesystem::path& folder, const nlohmann::json& facts);

/// What must be equal: ids, and the bytes of a text.
Tensor ids_tensor(const std::vector<int64_t>& ids);
Tensor ids_tensor(const std::vector<int32_t>& ids);
Tensor text_tensor(const std::string& text);
/// Several texts' ids end to end, a -1 behind each.
Tensor beams_tensor(const std::vector<std::vector<int64_t>>& texts);

}  // namespace wavllm::verify
