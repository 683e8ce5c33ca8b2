#include "wavllm/support/home.h"

#include <cstdlib>

#include "tensor/error.h"

namespace wavllm {

std::filesystem::path home_folder() {
    const char* set = std::getenv("WAVLLM_HOME");
    const std::filesystem::path home = set ? set : WAVLLM_SOURCE_DIR;
    if (!std::filesystem::exists(home / "presets"))
        throw FileError("{} holds no presets/; set WAVLLM_HOME to the folder of the project", home.string());
    return home;
}

}  // namespace wavllm
