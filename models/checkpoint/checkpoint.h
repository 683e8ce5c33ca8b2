#pragma once
// Named tensors in files: GGUF v3, CTranslate2 model.bin (version 6), safetensors, PyTorch's .pt and .bin, and Hugging
// Face folders of these.
// The readers take hostile input: no length is believed before it was compared with the file's size.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tensor/dtype.h"

namespace wavllm {

/// A tensor as it lies in a file. `bytes` points into the file's memory map, lives as long as its Checkpoint, is
/// exactly bytes_for(dtype, product of shape) long, and MAY BE UNALIGNED: copy it with memcpy before reading it as
/// numbers.
struct StoredTensor {
    std::string name;            ///< as in the file; not necessarily UTF-8
    DType dtype;                 ///< Q4_1 and Q8_0 blocks run along the last dimension
    std::vector<int64_t> shape;  ///< row-major, outermost first (for GGUF the reverse of its ne); empty for a scalar
    std::span<const std::byte> bytes;
};

/// The tensors of one file or folder, in the file's order, each name once.
class Checkpoint {
public:
    virtual ~Checkpoint() = default;
    Checkpoint(const Checkpoint&) = delete;
    Checkpoint& operator=(const Checkpoint&) = delete;

    virtual const std::vector<StoredTensor>& tensors() const = 0;

    /// A JSON object. GGUF: its key-values. CTranslate2: "spec", "revision", "version", "settings" (its integer scalars
    /// such as encoder/num_heads), "aliases". safetensors: "__metadata__" where the file has one. A Hugging Face
    /// folder: that of its files, and "config" (config.json) where there is one. PyTorch: "layout", "tensors_under" (the
    /// key whose tensors these are, such as "model"), "other_tensors" (how many lie elsewhere, such as an optimiser's),
    /// "foreign" (names of code that the file would have called, and how often: they are inert), "content" (all values
    /// that are no tensors). Strings are the file's bytes: dump() them with error_handler_t::replace.
    virtual const nlohmann::json& metadata() const = 0;

    /// Row `row` (along the last dimension) of one of tensors() in f32. Where a checkpoint makes its values when they are
    /// wanted (models/random_checkpoint.h), StoredTensor::bytes is empty and this is the only way to them.
    virtual void row(const StoredTensor& t, int64_t row, float* to) const;

    /// "gguf", "ctranslate2", "safetensors" or "torch".
    virtual std::string_view format() const = 0;

    /// The file or folder that was opened.
    const std::filesystem::path& path() const {
        return path_;
    }

    /// Tensors that the file names but that cannot be read, each with the reason (foreign code, a type that is not
    /// read). They are not among tensors(), and asking for one throws.
    const std::map<std::string, std::string, std::less<>>& refused() const {
        return refused_;
    }

    /// The tensor of that name, or nullptr. Throws FileError with the reason if it is one of refused().
    const StoredTensor* find(std::string_view name) const;
    /// The tensor of that name. Throws FileError with the file and the nearest name it has.
    const StoredTensor& at(std::string_view name) const;

protected:
    explicit Checkpoint(std::filesystem::path path) : path_(std::move(path)) {}
    /// To be called by readers once tensors() is complete. Throws FileError for a name that occurs twice.
    void index_names();
    void refuse(const std::string& name, const std::string& why) {
        refused_.emplace(name, why);
    }

private:
    std::filesystem::path path_;
    std::map<std::string, std::string, std::less<>> refused_;
    std::unordered_map<std::string_view, size_t> index_;
};

/// Opens a checkpoint of whatever kind stands at `path`, told by its first bytes, not by its name. A folder must hold
/// model.safetensors, model.safetensors.index.json with its parts, the same of pytorch_model.bin, or CTranslate2's
/// model.bin. Files are mapped: opening reads their directories only. Throws FileError.
std::unique_ptr<Checkpoint> open_checkpoint(const std::filesystem::path& path);

/// A tensor to be written; its bytes are borrowed for the call.
struct TensorToStore {
    std::string name;
    DType dtype;  ///< any but the frozen block formats
    std::vector<int64_t> shape;
    std::span<const std::byte> bytes;
};

/// Writes a safetensors file in one atomic step (see tensor/atomic_file.h). The same input gives the same bytes:
/// tensors lie in the order given, metadata is sorted by key, and the data begin at a multiple of 64. Throws FileError.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorToStore> tensors,
                       const std::vector<std::pair<std::string, std::string>>& metadata = {});

}  // namespace wavllm
