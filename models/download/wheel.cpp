#include "models/download/wheel.h"

#include <zip.h>

#include <memory>
#include <vector>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

uint64_t read_zip_member(const std::filesystem::path& archive, const std::string& member, uint64_t max_bytes,
                         const std::function<void(std::span<const std::byte>)>& sink) {
    int code = 0;
    const auto discard = [](zip_t* zip) { zip_discard(zip); };
    const std::unique_ptr<zip_t, decltype(discard)> zip(zip_open(archive.c_str(), ZIP_RDONLY, &code), discard);
    if (!zip) {
        zip_error_t error;
        zip_error_init_with_code(&error, code);
        const std::string reason = zip_error_strerror(&error);
        zip_error_fini(&error);
        throw FileError("{}: not a readable wheel: {}", archive.string(), reason);
    }
    const auto close = [](zip_file_t* file) { zip_fclose(file); };
    const std::unique_ptr<zip_file_t, decltype(close)> file(zip_fopen(zip.get(), member.c_str(), 0), close);
    if (!file)
        throw FileError("{}: \"{}\" cannot be read from it: {}", archive.string(), printable(member),
                        zip_strerror(zip.get()));
    std::vector<std::byte> buffer(1 << 20);
    uint64_t total = 0;
    while (true) {
        const zip_int64_t count = zip_fread(file.get(), buffer.data(), buffer.size());
        if (count < 0)
            throw FileError("{}: \"{}\" is damaged: {}", archive.string(), printable(member),
                            zip_file_strerror(file.get()));
        if (count == 0) return total;
        total += static_cast<uint64_t>(count);
        if (total > max_bytes)
            throw FileError("{}: \"{}\" is larger than the {} bytes expected", archive.string(), printable(member),
                            max_bytes);
        sink({buffer.data(), static_cast<size_t>(count)});
    }
}

}  // namespace wavllm
