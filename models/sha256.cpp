#include "models/sha256.h"

#include "models/checkpoint/mapped_file.h"

namespace wavllm {

std::string sha256_file(const std::filesystem::path& path) {
    return sha256_bytes(MappedFile(path).all());
}

}  // namespace wavllm
