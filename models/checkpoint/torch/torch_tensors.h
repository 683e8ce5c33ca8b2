#pragma once
// What a pickle of torch.save means: which objects are tensors, and where in which storage their elements lie. Not for
// others: they call open_checkpoint.

#include <functional>
#include <map>
#include <optional>
#include <set>

#include "models/checkpoint/readers.h"
#include "models/checkpoint/torch/pickle.h"

namespace wavllm {

/// A storage as a tensor's persistent id names it.
struct TorchStorage {
    std::string type;  ///< "FloatStorage"
    std::string key;   ///< the archive's member, or the legacy layout's number
    uint64_t elements = 0;
    uint64_t first = 0;  ///< elements before a legacy view's own first
    uint64_t root = 0;   ///< elements of the storage in the file: those of `elements` unless it is a legacy view
};

/// Element types of torch's storages: bool becomes u8, i8 and i16 become i32 (copied), complex and quantised ones are
/// not read.
struct TorchType {
    std::string_view storage;
    DType dtype;
    int bytes;  ///< of one element in the file
};
/// nullptr if it is not read.
const TorchType* torch_type(std::string_view storage);

/// The storage that a persistent node stands for, or what is wrong with it.
std::optional<TorchStorage> torch_storage(const pickle::Tree& tree, pickle::Ref node, std::string& problem);

/// Bytes of a storage. Throws FileError where they are not in the file or fewer than the storage says.
using StorageBytes = std::function<std::span<const std::byte>(const TorchStorage&, const TorchType&)>;

/// Fills tensors, refused and metadata of `out` from the pickle. The tensors are those of the dictionary under "model"
/// (fairseq), "state_dict" (Lightning) or "model_state_dict" (OpenAI's Whisper) where there is one with tensors, else
/// all; names of nested dictionaries are joined by dots. Elements that do not lie row-major in their storage are
/// copied; all copies together may take four times the file's size, so no stride of zero makes much of little. Steps
/// through objects and the names of tensors are bounded by the pickle's length, so no shared list makes much of little.
void read_torch_tree(LoadedCheckpoint& out, const pickle::Tree& tree, const StorageBytes& storage, uint64_t file_bytes);

}  // namespace wavllm
