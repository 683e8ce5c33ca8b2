#pragma once
// Writing GGUF v3 (ggml's docs/gguf.md), its tensors made while they are written: no file has to fit in memory.

#include "models/checkpoint/safetensors_writer.h"

namespace wavllm {

/// The key-values of a file to be written, in the order in which they were put. A key that is put again takes its new value
/// in its old place.
class GgufMetadata {
public:
    void put_u32(const std::string& key, uint32_t value);
    void put_f32(const std::string& key, float value);
    void put_bool(const std::string& key, bool value);
    void put_text(const std::string& key, std::string_view value);
    void put_texts(const std::string& key, std::span<const std::string> values);
    void put_i32s(const std::string& key, std::span<const int32_t> values);
    void put_f32s(const std::string& key, std::span<const float> values);
    /// The type and the value as another file has them.
    void put_stored(const std::string& key, std::span<const std::byte> type_and_value);

    bool has(std::string_view key) const;
    /// Keys with the bytes of their types and values.
    const std::vector<std::pair<std::string, std::string>>& pairs() const {
        return pairs_;
    }

private:
    std::string& value(const std::string& key);
    std::vector<std::pair<std::string, std::string>> pairs_;
    std::map<std::string, size_t, std::less<>> places_;
};

/// Writes the file in one atomic step (tensor/atomic_file.h). The same input gives the same bytes: metadata and tensors in
/// the order given, each tensor at a multiple of 32 bytes. int8 is stored as Q8_0: the same blocks, in which all scales of a
/// row happen to be equal. Throws FileError for a name that occurs twice or has more than 63 bytes (ggml's limit), more than
/// four dimensions, and rows that are no whole blocks; DTypeError for u8, which GGUF cannot hold; ShapeError if a tensor
/// gives more or fewer bytes than its shape needs.
void write_gguf_streamed(const std::filesystem::path& path, const GgufMetadata& metadata,
                         std::span<const StreamedTensor> tensors);

}  // namespace wavllm
