#include "wavllm/support/home.h"

#include <algorithm>
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

std::vector<std::string> preset_names(const std::filesystem::path& home) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(home / "presets"))
        if (entry.path().extension() == ".json" && entry.path().stem() != "sources")
            names.push_back(entry.path().stem().string());
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace wavllm
