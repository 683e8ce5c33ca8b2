#include "models/checkpoint/gguf_writer.h"

#include <algorithm>
#include <set>

#include "models/checkpoint/gguf_format.h"
#include "models/checkpoint/readers.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace fs = std::filesystem;

namespace {

constexpr size_t kLongestName = 63;  // GGML_MAX_NAME without its zero byte

/// Appends the bytes of a number; little-endian, as this machine is.
template <class T>
void append(std::string& to, T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_text(std::string& to, std::string_view text) {
    append<uint64_t>(to, text.size());
    to += text;
}

template <class T>
std::string array_of(GgufType type, std::span<const T> values) {
    std::string bytes;
    append(bytes, GgufType::array);
    append(bytes, type);
    append<uint64_t>(bytes, values.size());
    for (const T& v : values) {
        if constexpr (std::is_same_v<T, std::string>)
            append_text(bytes, v);
        else
            append(bytes, v);
    }
    return bytes;
}

template <class T>
std::string number_of(GgufType type, T value) {
    std::string bytes;
    append(bytes, type);
    append(bytes, value);
    return bytes;
}

const GgufTensorType& type_of(const fs::path& path, const StreamedTensor& tensor) {
    const DType dtype = tensor.dtype == DType::int8 ? DType::q8_0 : tensor.dtype;
    const auto* type = std::find_if(kGgufTensorTypes.begin(), kGgufTensorTypes.end(),
                                    [&](const GgufTensorType& known) { return known.dtype == dtype; });
    if (type == kGgufTensorTypes.end())
        throw DTypeError("{}: tensor \"{}\" is {}, which GGUF cannot hold", path.string(), printable(tensor.name),
                         name(tensor.dtype));
    return *type;
}

uint64_t padded(uint64_t bytes) {
    return (bytes + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment;
}

/// A line of the tensor table.
std::string facts_of(const fs::path& path, const StreamedTensor& tensor, uint64_t offset) {
    if (tensor.name.size() > kLongestName)
        throw FileError("{}: the tensor name \"{}\" has {} bytes, but GGUF's programs take {} at most", path.string(),
                        printable(tensor.name), tensor.name.size(), kLongestName);
    if (tensor.shape.size() > 4)
        throw FileError("{}: tensor \"{}\" has {} dimensions, but GGUF allows 4", path.string(), printable(tensor.name),
                        tensor.shape.size());
    std::string bytes;
    append_text(bytes, tensor.name);
    append(bytes, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t d = tensor.shape.size(); d-- > 0;) append(bytes, tensor.shape[d]);  // innermost first
    append(bytes, type_of(path, tensor).number);
    append(bytes, offset);
    return bytes;
}

}  // namespace

std::string& GgufMetadata::value(const std::string& key) {
    const auto [place, is_new] = places_.emplace(key, pairs_.size());
    if (is_new) pairs_.emplace_back(key, "");
    return pairs_[place->second].second;
}

bool GgufMetadata::has(std::string_view key) const {
    return places_.contains(key);
}

void GgufMetadata::put_u32(const std::string& key, uint32_t v) {
    value(key) = number_of(GgufType::u32, v);
}

void GgufMetadata::put_f32(const std::string& key, float v) {
    value(key) = number_of(GgufType::f32, v);
}

void GgufMetadata::put_bool(const std::string& key, bool v) {
    value(key) = number_of(GgufType::boolean, static_cast<uint8_t>(v));
}

void GgufMetadata::put_text(const std::string& key, std::string_view text) {
    std::string bytes;
    append(bytes, GgufType::string);
    append_text(bytes, text);
    value(key) = std::move(bytes);
}

void GgufMetadata::put_texts(const std::string& key, std::span<const std::string> values) {
    value(key) = array_of(GgufType::string, values);
}

void GgufMetadata::put_i32s(const std::string& key, std::span<const int32_t> values) {
    value(key) = array_of(GgufType::i32, values);
}

void GgufMetadata::put_f32s(const std::string& key, std::span<const float> values) {
    value(key) = array_of(GgufType::f32, values);
}

void GgufMetadata::put_stored(const std::string& key, std::span<const std::byte> bytes) {
    value(key).assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void write_gguf_streamed(const fs::path& path, const GgufMetadata& metadata, std::span<const StreamedTensor> tensors) {
    std::string table;
    std::set<std::string_view> seen;
    uint64_t offset = 0;
    for (const StreamedTensor& tensor : tensors) {
        if (!seen.insert(tensor.name).second)
            throw FileError("{}: two tensors cannot both be named \"{}\"", path.string(), printable(tensor.name));
        table += facts_of(path, tensor, offset);
        offset += padded(checked_bytes(path, tensor.name, tensor.dtype, tensor.shape));
    }
    AtomicFile file(path);
    std::string head = "GGUF";
    append<uint32_t>(head, 3);
    append<uint64_t>(head, tensors.size());
    append<uint64_t>(head, metadata.pairs().size());
    file.write(head);
    for (const auto& [key, value] : metadata.pairs()) {
        std::string length;
        append<uint64_t>(length, key.size());
        for (const std::string& part : {length, key, value}) file.write(part);
    }
    file.write(table);
    const auto pad = [&] { file.write(std::string(padded(file.bytes_written()) - file.bytes_written(), '\0')); };
    pad();
    for (const StreamedTensor& tensor : tensors) {
        const uint64_t before = file.bytes_written();
        tensor.bytes([&](std::span<const std::byte> piece) { file.write(piece); });
        const uint64_t written = file.bytes_written() - before;
        const uint64_t expected = checked_bytes(path, tensor.name, tensor.dtype, tensor.shape);
        if (written != expected)
            throw ShapeError("{}: tensor \"{}\" has {} bytes, but its shape and type need {}", path.string(),
                             printable(tensor.name), written, expected);
        pad();
    }
    file.commit();
}

}  // namespace wavllm
