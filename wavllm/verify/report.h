#pragma once
#include <nlohmann/json.hpp>

#include "wavllm/verify/comparison.h"

namespace wavllm::verify {

/// "ok    audio_a.safetensors  whisper.layer0  4.1e-07 / 1.0e-05  (layer output)"
std::string text_of(const Line& line);
/// One line a value, one for each family that broke, and "N passed, N failed, N not built yet".
std::string text_of(const Report& report);
nlohmann::json json_of(const Report& report);

}  // namespace wavllm::verify
