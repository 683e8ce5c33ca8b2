#pragma once
// Writing safetensors whose tensors are made while they are written: no file has to fit in memory.

#include <functional>

#include "models/checkpoint/checkpoint.h"

namespace wavllm {

/// A tensor to be written, piece by piece.
struct StreamedTensor {
    using Write = std::function<void(std::span<const std::byte>)>;
    std::string name;
    DType dtype;  ///< any but the frozen block formats
    std::vector<int64_t> shape;
    std::function<void(const Write&)> bytes;  ///< gives all of its bytes, in order
};

/// As write_safetensors (models/checkpoint/checkpoint.h). Throws ShapeError if a tensor gives more or fewer bytes than
/// its shape needs.
void write_safetensors_streamed(const std::filesystem::path& path, std::span<const StreamedTensor> tensors,
                                const std::vector<std::pair<std::string, std::string>>& metadata = {});

}  // namespace wavllm
