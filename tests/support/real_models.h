#pragma once
// The real small weights, for tests that hold this code to the published models. Downloaded into the cache on first
// use.

#include <filesystem>
#include <string>

#include "models/download.h"

namespace wavllm::tests {

/// A file of a model of presets/sources.json. Throws where it can be neither found nor downloaded, never a skip.
inline std::filesystem::path real_model(const std::string& model, const std::string& role = "model") {
    const auto sources = std::filesystem::path(WAVLLM_SOURCE_DIR) / "presets" / "sources.json";
    return fetch_file(remote_model(sources, model).at(role));
}

}  // namespace wavllm::tests
