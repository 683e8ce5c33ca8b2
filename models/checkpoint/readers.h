#pragma once
// What the readers of this folder share. Not for others: they call open_checkpoint.

#include <cstring>
#include <type_traits>

#include "models/checkpoint/checkpoint.h"
#include "models/checkpoint/mapped_file.h"

namespace wavllm {

/// A checkpoint whose tensors and metadata a reader has gathered.
class LoadedCheckpoint : public Checkpoint {
public:
    LoadedCheckpoint(std::filesystem::path path, std::string_view format)
        : Checkpoint(std::move(path)), format_(format) {}

    const std::vector<StoredTensor>& tensors() const override {
        return list;
    }
    const nlohmann::json& metadata() const override {
        return facts;
    }
    std::string_view format() const override {
        return format_;
    }
    void finish() {
        index_names();
    }
    using Checkpoint::refuse;
    /// Holds bytes that do not lie in a file as a tensor wants them.
    std::span<const std::byte> keep(std::vector<std::byte> bytes) {
        kept_.push_back(std::move(bytes));
        return kept_.back();
    }
    /// Takes over what the spans of a part's tensors point into.
    void adopt(LoadedCheckpoint& part) {
        files.insert(files.end(), part.files.begin(), part.files.end());
        for (auto& bytes : part.kept_) kept_.push_back(std::move(bytes));
        for (const auto& [name, why] : part.refused()) refuse(name, why);
    }

    std::vector<std::shared_ptr<const MappedFile>> files;  ///< what the spans of `list` point into
    std::vector<StoredTensor> list;
    nlohmann::json facts = nlohmann::json::object();

private:
    std::string_view format_;
    std::vector<std::vector<std::byte>> kept_;  // a vector that moves keeps its bytes where they are
};

using LoadedPtr = std::unique_ptr<LoadedCheckpoint>;

LoadedPtr read_gguf(std::shared_ptr<const MappedFile> file);
LoadedPtr read_ctranslate2(std::shared_ptr<const MappedFile> file);
LoadedPtr read_safetensors(std::shared_ptr<const MappedFile> file);
/// `folder` holds the index, model.safetensors.index.json or pytorch_model.bin.index.json.
LoadedPtr read_parts(const std::filesystem::path& folder, const char* index);
/// Files of torch.save: the zip archive, and the layout before PyTorch 1.6.
LoadedPtr read_torch_zip(std::shared_ptr<const MappedFile> file);
bool is_torch_legacy(const MappedFile& file);
LoadedPtr read_torch_legacy(std::shared_ptr<const MappedFile> file);
/// A checkpoint file of any kind.
LoadedPtr open_checkpoint_file(const std::filesystem::path& path);

/// Reads little-endian values one after another; every step is checked against the file's size.
class ByteReader {
public:
    explicit ByteReader(const MappedFile& file) : file_(file) {}

    template <class T>
    T read(std::string_view what) {
        static_assert(std::is_trivially_copyable_v<T>);
        T value;
        std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
        return value;
    }
    std::span<const std::byte> take(uint64_t length, std::string_view what) {
        const auto part = file_.bytes(position_, length, what);
        position_ += length;
        return part;
    }
    std::string text(uint64_t length, std::string_view what) {
        const auto part = take(length, what);
        return {reinterpret_cast<const char*>(part.data()), part.size()};
    }
    uint64_t position() const {
        return position_;
    }
    uint64_t remaining() const {
        return file_.size() - position_;
    }

private:
    const MappedFile& file_;
    uint64_t position_ = 0;
};

/// Product of a shape. Throws FileError if it does not fit 63 bits or a dimension is negative.
uint64_t checked_elements(const std::filesystem::path& path, std::string_view tensor, std::span<const int64_t> shape);

/// Bytes of that many elements. Throws FileError on overflow, or if the last dimension is no whole number of blocks.
uint64_t checked_bytes(const std::filesystem::path& path, std::string_view tensor, DType dtype,
                       std::span<const int64_t> shape);

/// Throws FileError if two tensors share bytes. All spans must point into one file.
void check_disjoint(const std::filesystem::path& path, std::span<const StoredTensor> tensors);

}  // namespace wavllm
