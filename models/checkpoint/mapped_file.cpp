#include "models/checkpoint/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
    // O_NONBLOCK: opening a named pipe must not wait for a writer; it is refused below
    const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) throw FileError("cannot open {}: {}", path_.string(), std::strerror(errno));
    struct stat facts {};
    const char* problem = nullptr;
    if (::fstat(fd, &facts) != 0)
        problem = std::strerror(errno);
    else if (!S_ISREG(facts.st_mode))
        problem = "it is not a regular file";
    if (problem == nullptr && facts.st_size > 0) {
        size_ = static_cast<uint64_t>(facts.st_size);
        void* map = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            problem = std::strerror(errno);
        else
            data_ = static_cast<const std::byte*>(map);
    }
    ::close(fd);
    if (problem != nullptr) throw FileError("cannot read {}: {}", path_.string(), problem);
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> bytes) const {
    if (bytes.data() < data_ || bytes.data() + bytes.size() > data_ + size_) return;
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
    const uintptr_t first = (begin + page - 1) / page * page, last = (begin + bytes.size()) / page * page;
    if (last > first) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

std::span<const std::byte> MappedFile::bytes(uint64_t offset, uint64_t length, std::string_view what) const {
    if (offset > size_ || length > size_ - offset)
        throw FileError("{}: {} takes {} bytes at offset {}, but the file has {} bytes: it is damaged or cut off",
                        path_.string(), printable(what), length, offset, size_);
    return all().subspan(offset, length);
}

}  // namespace wavllm
