#pragma once
// Files that are either wholly there or not there: what a run saves is never lost to a crash or a full disk.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace wavllm {

/// What a committed file outlives. `process`, the end of this process however it comes, but not a power cut, costs no
/// fsync (5.7 ms a file on a cloud disk): for files that can be made again and are checked when they are read.
enum class Durability { power_cut, process };

/// Writes a file beside its final place and puts it there in one step: temporary file in the same folder, write, fsync,
/// rename, fsync of the folder (Durability::process: no fsync). Until commit() returns the file that stood at `path` is
/// untouched; a writer destroyed before commit() removes its temporary file. Temporary files of writers that were
/// killed are removed by the next writer of the same path. Any failure throws FileError with the path, the system's
/// reason and, for a full disk, how much is free.
class AtomicFile {
public:
    explicit AtomicFile(std::filesystem::path path, Durability durability = Durability::power_cut);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write(std::span<const std::byte> bytes);
    void write(std::string_view text);
    /// Makes the new content the content of path(). To be called once, last.
    void commit();

    const std::filesystem::path& path() const {
        return path_;
    }
    uint64_t bytes_written() const {
        return written_;
    }

private:
    void flush(std::span<const std::byte> bytes);
    [[noreturn]] void fail(const char* step, int error);
    void discard() noexcept;

    std::filesystem::path path_;
    std::filesystem::path temporary_;
    std::string pending_;  ///< small writes are gathered here
    uint64_t written_ = 0;
    int fd_ = -1;
    Durability durability_;
};

/// AtomicFile for content that is already in memory (JSON, reports).
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

}  // namespace wavllm
