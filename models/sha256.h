#pragma once
// SHA-256 of files; of bytes: data/sha256.h.

#include <filesystem>
#include <string>

#include "data/sha256.h"

namespace wavllm {

/// The digest of a file's bytes, as 64 lower-case hexadecimal digits. Throws FileError if the file cannot be read.
std::string sha256_file(const std::filesystem::path& path);

}  // namespace wavllm
