#pragma once
// Where the program finds what comes with it.

#include <filesystem>
#include <string>
#include <vector>

namespace wavllm {

/// The repository's (or installation's) folder that holds presets/, samples/ and adapters/: $WAVLLM_HOME, else the source
/// tree this was built from. Throws FileError if it has none.
std::filesystem::path home_folder();
/// The names of the presets in its folder presets/, sorted.
std::vector<std::string> preset_names(const std::filesystem::path& home);

}  // namespace wavllm
