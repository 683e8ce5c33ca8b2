#pragma once
// A file as read-only memory. Readers take bytes from it only through bytes(), which checks every range.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace wavllm {

/// A read-only memory map of a regular file. Spans from it live as long as the object. If another process cuts the file
/// shorter meanwhile, the system raises SIGBUS: replace model files by renaming, as AtomicFile does.
class MappedFile {
public:
    /// Throws FileError if the file is missing, a folder or other special file, or unreadable. Size 0 is allowed.
    explicit MappedFile(std::filesystem::path path);
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    const std::filesystem::path& path() const {
        return path_;
    }
    uint64_t size() const {
        return size_;
    }
    std::span<const std::byte> all() const {
        return {data_, static_cast<size_t>(size_)};
    }

    /// Lets the system take back the memory behind bytes that are not needed soon; they are read again where they are
    /// asked for. Does nothing for bytes that are not this file's.
    void release(std::span<const std::byte> bytes) const;

    /// `length` bytes at `offset`. Throws FileError, naming the file and `what`, where they are not all in the file.
    std::span<const std::byte> bytes(uint64_t offset, uint64_t length, std::string_view what) const;

private:
    std::filesystem::path path_;
    const std::byte* data_ = nullptr;
    uint64_t size_ = 0;
};

}  // namespace wavllm
