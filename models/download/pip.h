#pragma once
// Gets a package's wheel with pip. Wheels only: pip builds nothing, and no code of the package is run.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace wavllm {

/// Downloads `package`==`version` into the new folder `folder` and returns the wheel's path. `on_bytes` is called about
/// twice a second with the bytes that have arrived. Throws FileError: no python3, no pip, no network, no such package
/// (with pip's own last line), and UsageError for a package or version that is no plain name.
std::filesystem::path pip_download(const std::string& package, const std::string& version,
                                   const std::filesystem::path& folder, const std::function<void(uint64_t)>& on_bytes);

}  // namespace wavllm
