#include "tensor/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "tensor/error.h"

namespace wavllm {

namespace fs = std::filesystem;

namespace {

constexpr size_t kGather = 1 << 16;

fs::path folder_of(const fs::path& path) {
    return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// A living writer holds a lock on its temporary file, so one that can be locked was left by a killed process.
void remove_leftovers(const fs::path& path) {
    const std::string prefix = path.filename().string() + ".tmp-";
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder_of(path), ignored)) {
        if (!entry.path().filename().string().starts_with(prefix)) continue;
        const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0) continue;
        if (::flock(fd, LOCK_EX | LOCK_NB) == 0) ::unlink(entry.path().c_str());
        ::close(fd);
    }
}

/// Locks a new temporary file. False if it was removed before that; true on a file system without locks.
bool lock(int fd) {
    while (::flock(fd, LOCK_EX) != 0)
        if (errno != EINTR) return true;
    struct stat facts {};
    return ::fstat(fd, &facts) != 0 || facts.st_nlink > 0;
}

std::string free_space_hint(const fs::path& folder) {
    struct statvfs disk {};
    if (::statvfs(folder.c_str(), &disk) != 0) return "";
    const double free_mib = static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize) / (1 << 20);
    return fmt::format(" ({:.1f} MiB are free on this disk; free some space or choose another folder)", free_mib);
}

}  // namespace

AtomicFile::AtomicFile(fs::path path, Durability durability) : path_(std::move(path)), durability_(durability) {
    if (!path_.has_filename()) throw FileError("cannot write {}: it names a folder, not a file", path_.string());
    remove_leftovers(path_);
    static std::atomic<uint64_t> counter{0};
    while (fd_ < 0) {
        temporary_ = path_;
        temporary_ += fmt::format(".tmp-{}-{}", ::getpid(), counter.fetch_add(1));
        fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd_ < 0 && errno != EEXIST && errno != EINTR) {
            const int error = errno;
            temporary_.clear();
            fail("create", error);
        }
        // until it is locked, another writer of the same path may have taken it for a leftover
        if (fd_ >= 0 && !lock(fd_)) {
            ::close(fd_);
            fd_ = -1;
        }
    }
}

AtomicFile::~AtomicFile() {
    discard();
}

void AtomicFile::discard() noexcept {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
    if (fd_ >= 0) ::close(fd_);
    temporary_.clear();
    fd_ = -1;
}

void AtomicFile::fail(const char* step, int error) {
    // measured while the temporary file still takes its share, which is what the writer met
    const std::string hint = error == ENOSPC || error == EDQUOT ? free_space_hint(folder_of(path_)) : "";
    std::error_code ignored;
    const std::string before = fs::exists(path_, ignored) ? "; the file that was there before is untouched" : "";
    discard();
    throw FileError("cannot {} {}: {}{}{}", step, path_.string(), std::strerror(error), hint, before);
}

void AtomicFile::flush(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t done = ::write(fd_, bytes.data(), bytes.size());
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) fail("write", errno);
        bytes = bytes.subspan(static_cast<size_t>(done));
    }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
    if (fd_ < 0) throw FileError("cannot write {}: it was already committed or has failed", path_.string());
    written_ += bytes.size();
    if (pending_.size() + bytes.size() > kGather) {
        flush(std::as_bytes(std::span(pending_)));
        pending_.clear();
    }
    if (bytes.size() > kGather)
        flush(bytes);
    else
        pending_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void AtomicFile::write(std::string_view text) {
    write(std::as_bytes(std::span(text)));
}

void AtomicFile::commit() {
    if (fd_ < 0) throw FileError("cannot write {}: it was already committed or has failed", path_.string());
    flush(std::as_bytes(std::span(pending_)));
    pending_.clear();
    if (durability_ == Durability::power_cut && ::fsync(fd_) != 0) fail("write", errno);
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("replace", errno);
    temporary_.clear();
    ::close(fd_);
    fd_ = -1;
    if (durability_ == Durability::process) return;
    const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return;  // a folder one may write to but not read: the rename stands all the same
    const int failed = ::fsync(folder) == 0 ? 0 : errno;
    ::close(folder);
    // some file systems have no fsync for folders (EINVAL): nothing more can be done there
    if (failed != 0 && failed != EINVAL)
        throw FileError("cannot make {} durable: {}", path_.string(), std::strerror(failed));
}

void write_file_atomically(const fs::path& path, std::string_view content) {
    AtomicFile file(path);
    file.write(content);
    file.commit();
}

}  // namespace wavllm
