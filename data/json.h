#pragma once
// JSON from files of strangers.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace wavllm {

/// Parses one JSON text. Throws FileError, its message beginning with `what` (a file's path), for anything that is not
/// JSON in valid UTF-8, for nesting deeper than `max_depth`, and for an object that has the same key twice.
nlohmann::json parse_json(std::string_view text, const std::string& what, int max_depth = 64);

/// The whole file through parse_json. Throws FileError if it cannot be read or is larger than max_bytes.
nlohmann::json read_json_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 30);

}  // namespace wavllm
