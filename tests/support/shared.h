#pragma once
// Where the tests find reference tensors and speech that are too large for the repository: $WAVLLM_SHARED, by default
// the folder `shared` beside the repository.

#include <cstdlib>
#include <filesystem>

#include "tensor/error.h"

namespace wavllm::tests {

/// Path of a file or folder of the shared reference data. A missing one is an error (a failed test), never a skip.
inline std::filesystem::path shared(const std::string& relative) {
    const char* set = std::getenv("WAVLLM_SHARED");
    const std::filesystem::path root =
        set ? std::filesystem::path(set) : std::filesystem::path(WAVLLM_SOURCE_DIR) / ".." / "shared";
    std::filesystem::path path = root / relative;
    if (!std::filesystem::exists(path))
        throw FileError(
            "{} is missing: the tests read reference data from there; set WAVLLM_SHARED to the folder that holds "
            "golden/ and data/",
            path.lexically_normal().string());
    return path;
}

}  // namespace wavllm::tests
