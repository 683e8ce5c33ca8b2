#pragma once
// Files inside a wheel (a zip archive).

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

namespace wavllm {

/// Unpacks one member piece by piece into `sink` and returns its size. The archive's own checksum is checked at the
/// end. Throws FileError if the archive is damaged, lacks the member, or the member is larger than max_bytes, whatever
/// size its entry claims.
uint64_t read_zip_member(const std::filesystem::path& archive, const std::string& member, uint64_t max_bytes,
                         const std::function<void(std::span<const std::byte>)>& sink);

}  // namespace wavllm
