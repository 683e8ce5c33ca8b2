#pragma once
// Files of torch.save, tensor by tensor: what torch wrote beside them as safetensors is what their reader must find.

#include <filesystem>

#include "wavllm/verify/comparison.h"

namespace wavllm::verify {

/// The values of torch_variants.safetensors, and those of model.safetensors for each of the released checkpoint's files.
void expect_torch_files(Comparison& c, const std::filesystem::path& folder);
/// What models/checkpoint/torch reads from torch_variants*.pt and final*.pt.
void check_torch_files(Comparison& c, const std::filesystem::path& folder);

}  // namespace wavllm::verify
