#include "data/audio_container.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "tensor/error.h"

namespace wavllm {

namespace {

class MemorySource : public ByteSource {
public:
    explicit MemorySource(std::vector<char> bytes) : bytes_(std::move(bytes)) {}
    int64_t size() const override {
        return static_cast<int64_t>(bytes_.size());
    }
    int64_t read_at(int64_t offset, void* destination, int64_t n) const override {
        if (offset < 0 || offset >= size() || n <= 0) return 0;
        n = std::min(n, size() - offset);
        std::memcpy(destination, bytes_.data() + offset, static_cast<size_t>(n));
        return n;
    }

private:
    std::vector<char> bytes_;
};

class FileSource : public ByteSource {
public:
    FileSource(int descriptor, int64_t size, std::string name)
        : descriptor_(descriptor), size_(size), name_(std::move(name)) {}
    ~FileSource() override {
        ::close(descriptor_);
    }
    FileSource(const FileSource&) = delete;
    FileSource& operator=(const FileSource&) = delete;

    int64_t size() const override {
        return size_;
    }
    int64_t read_at(int64_t offset, void* destination, int64_t n) const override {
        int64_t done = 0;
        while (offset >= 0 && done < n) {
            const ssize_t got = ::pread(descriptor_, static_cast<char*>(destination) + done,
                                        static_cast<size_t>(n - done), offset + done);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) throw FileError("{}: read error: {}", name_, std::strerror(errno));
            if (got == 0) break;
            done += got;
        }
        return done;
    }

private:
    int descriptor_;
    int64_t size_;
    std::string name_;
};

std::vector<char> read_to_end(int descriptor, const std::string& name) {
    std::vector<char> bytes;
    std::array<char, 1 << 16> block;
    while (true) {
        const ssize_t got = ::read(descriptor, block.data(), block.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw FileError("{}: read error: {}", name, std::strerror(errno));
        if (got == 0) return bytes;
        bytes.insert(bytes.end(), block.data(), block.data() + got);
    }
}

std::unique_ptr<ByteSource> in_memory(int descriptor, const std::string& name) {
    std::vector<char> bytes = read_to_end(descriptor, name);
    if (bytes.empty()) throw FileError("{}: is empty (0 bytes); expected a wav, flac, ogg or mp3 file", name);
    return std::make_unique<MemorySource>(std::move(bytes));
}

uint64_t little_endian(const unsigned char* bytes, int n) {
    uint64_t value = 0;
    for (int i = n - 1; i >= 0; --i) value = value << 8 | bytes[i];
    return value;
}

bool length_unknown(uint64_t data_bytes) {
    return data_bytes == 0xFFFFFFFFu || (data_bytes >= 0x7FFFF000u && data_bytes <= 0x80000000u);
}

void check_wav(const ByteSource& bytes, const std::string& name) {
    std::array<unsigned char, 24> head{};
    uint64_t data_bytes_64 = 0;  // RF64: the real length stands in the ds64 chunk
    bool rf64 = bytes.read_at(0, head.data(), 4) == 4 && std::memcmp(head.data(), "RF64", 4) == 0;
    const uint64_t file_bytes = static_cast<uint64_t>(bytes.size());
    uint64_t position = 12;
    while (bytes.read_at(static_cast<int64_t>(position), head.data(), 8) == 8) {
        uint64_t length = little_endian(head.data() + 4, 4);
        const std::string id(reinterpret_cast<const char*>(head.data()), 4);
        position += 8;
        const uint64_t left = file_bytes - position;
        if (id == "data") {
            if (rf64 && length == 0xFFFFFFFFu)
                length = data_bytes_64;
            else if (length_unknown(length))
                return;
            if (length > left)
                throw FileError(
                    "{}: the wav file is cut off: its header announces {} bytes of samples, {} are there; copy the "
                    "whole file again",
                    name, length, left);
            return;
        }
        if (length > left)
            throw FileError("{}: the wav header is damaged: chunk '{}' announces {} bytes, {} are left in the file",
                            name,
                            id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ") ==
                                    std::string::npos
                                ? id
                                : "????",
                            length, left);
        if (rf64 && id == "ds64" && length >= 24 &&
            bytes.read_at(static_cast<int64_t>(position), head.data(), 24) == 24)
            data_bytes_64 = little_endian(head.data() + 8, 8);
        position += length + (length & 1);
    }
    throw FileError("{}: the wav file is cut off: it ends before its sample data begins", name);
}

void check_ogg(const ByteSource& bytes, const std::string& name) {
    std::array<unsigned char, 27 + 255> page;
    int64_t position = 0;
    bool end_of_stream = false;
    while (true) {
        const int64_t got = bytes.read_at(position, page.data(), static_cast<int64_t>(page.size()));
        if (got == 0 || (got >= 4 && std::memcmp(page.data(), "OggS", 4) != 0))
            break;  // the end, or something appended
        const int64_t segments = got >= 27 ? page[26] : 0;
        int64_t length = 27 + segments;
        bool whole = got >= length;
        for (int64_t s = 0; whole && s < segments; ++s) length += page[static_cast<size_t>(27 + s)];
        if (!whole || position + length > bytes.size())
            throw FileError("{}: the ogg file is cut off inside the page at byte {}; copy the whole file again", name,
                            position);
        end_of_stream = (page[5] & 4) != 0;
        position += length;
    }
    if (!end_of_stream)
        throw FileError("{}: the ogg file is cut off: its last page (before byte {}) is not marked as the end", name,
                        position);
}

}  // namespace

std::string display_name(const std::string& path) {
    return path == "-" ? "standard input" : path;
}

std::unique_ptr<ByteSource> open_bytes(const std::string& path) {
    const std::string name = display_name(path);
    if (path == "-") return in_memory(STDIN_FILENO, name);
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) throw FileError("{}: cannot open the audio file: {}", name, std::strerror(errno));
    auto file = std::make_unique<FileSource>(descriptor, 0, name);  // owns the descriptor from here on
    struct stat facts {};
    if (::fstat(descriptor, &facts) != 0) throw FileError("{}: cannot open: {}", name, std::strerror(errno));
    if (S_ISDIR(facts.st_mode)) throw FileError("{}: is a folder; expected a wav, flac, ogg or mp3 file", name);
    if (!S_ISREG(facts.st_mode)) return in_memory(descriptor, name);
    if (facts.st_size == 0) throw FileError("{}: is empty (0 bytes); expected a wav, flac, ogg or mp3 file", name);
    const int copy = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) throw FileError("{}: cannot open: {}", name, std::strerror(errno));
    return std::make_unique<FileSource>(copy, facts.st_size, name);
}

Container sniff_container(const ByteSource& bytes, const std::string& name) {
    std::array<unsigned char, 12> head{};
    const int64_t got = bytes.read_at(0, head.data(), static_cast<int64_t>(head.size()));
    const auto starts = [&](const char* magic, size_t n, size_t at = 0) {
        return got >= static_cast<int64_t>(at + n) && std::memcmp(head.data() + at, magic, n) == 0;
    };
    if ((starts("RIFF", 4) || starts("RF64", 4)) && starts("WAVE", 4, 8)) return Container::wav;
    if (starts("fLaC", 4)) return Container::flac;
    if (starts("OggS", 4)) return Container::ogg;
    // MPEG audio: an ID3 tag, or a frame header (11 sync bits, a layer that is not the reserved 00)
    if (starts("ID3", 3) || (got >= 2 && head[0] == 0xFF && (head[1] & 0xE0) == 0xE0 && (head[1] & 0x06) != 0))
        return Container::mp3;
    throw FileError(
        "{}: is not a wav, flac, ogg or mp3 file, whatever its name says (it has {} bytes and starts with {})", name,
        bytes.size(), [&] {
            std::string hex;
            for (int64_t i = 0; i < std::min<int64_t>(got, 4); ++i)
                hex += fmt::format("{}{:02x}", i ? " " : "", head[static_cast<size_t>(i)]);
            return hex;
        }());
}

void check_complete(const ByteSource& bytes, Container container, const std::string& name) {
    if (container == Container::wav) check_wav(bytes, name);
    if (container == Container::ogg) check_ogg(bytes, name);
}

}  // namespace wavllm
