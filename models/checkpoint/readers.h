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

    std::vector<std::shared_ptr<const MappedFile>> files;  ///< what the spans of `list` point into
    std::vector<StoredTensor> list;
    nlohmann::json facts = nlohmann::json::object();

private:
    std::string_view format_;
};

using LoadedPtr = std::unique_ptr<LoadedCheckpoint>;

LoadedPtr read_gguf(std::shared_ptr<const MappedFile> file);
LoadedPtr read_ctranslate2(std::shared_ptr<const MappedFile> file);
LoadedPtr read_safetensors(std::shared_ptr<const MappedFile> file);
/// `folder` holds model.safetensors.index.json.
LoadedPtr read_safetensors_parts(const std::filesystem::path& folder);

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
