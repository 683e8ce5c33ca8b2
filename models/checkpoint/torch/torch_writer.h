#pragma once
// Writing a file that torch.load reads: {"model": {name: tensor}}, as the released checkpoint has it.

#include "models/checkpoint/safetensors_writer.h"

namespace wavllm {

/// As write_safetensors_streamed, in the layout of torch.save (zip, PyTorch 1.6 and later), in one atomic step. Throws
/// DTypeError for the frozen block formats.
void write_torch_streamed(const std::filesystem::path& path, std::span<const StreamedTensor> tensors);

}  // namespace wavllm
