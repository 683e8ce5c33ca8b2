#pragma once
// Which weights a file holds, told quickly: what was trained on one base is not loaded on another.

#include <functional>
#include <string>
#include <vector>

#include "models/checkpoint/checkpoint.h"

namespace wavllm {

/// A SHA-256, as 64 hexadecimal digits, over every tensor's name, type, shape and bytes; of a tensor of more than 64 KiB
/// over 16 evenly spaced windows of 4 KiB, first and last among them, so that 15 GB take milliseconds and not half a minute.
/// Training or quantising a model anew changes every tensor and so the identity; a file edited by hand between the
/// windows does not. The order of tensors and the file's format do not count.
std::string weights_identity(const Checkpoint& checkpoint);
/// A tensor under another name, as another file would have it. bytes: if they are other ones, such as rows in another
/// order; called once.
struct RenamedTensor {
    std::string name;
    const StoredTensor* tensor;
    std::function<std::vector<std::byte>()> bytes{};
};
/// The identity of such a file.
std::string weights_identity(std::vector<RenamedTensor> tensors);

}  // namespace wavllm
