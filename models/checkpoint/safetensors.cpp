// safetensors: u64 length of a JSON object, the object {name: {"dtype", "shape", "data_offsets": [begin, end]}}, data.
// Offsets count from the end of the object. "__metadata__" maps strings to strings.

#include <algorithm>
#include <array>
#include <map>

#include "data/json.h"
#include "models/checkpoint/readers.h"
#include "models/checkpoint/safetensors_writer.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr uint64_t kLongestHeader = 100'000'000;  // the format's own limit

struct StoredType {
    std::string_view name;
    DType dtype;
};
constexpr std::array<StoredType, 7> kTypes{{{"F64", DType::f64},
                                            {"F32", DType::f32},
                                            {"F16", DType::f16},
                                            {"BF16", DType::bf16},
                                            {"I64", DType::i64},
                                            {"I32", DType::i32},
                                            {"U8", DType::u8}}};

DType dtype_of(const fs::path& path, const std::string& tensor, const std::string& stored) {
    std::string known;
    for (const StoredType& type : kTypes) {
        if (type.name == stored) return type.dtype;
        known += fmt::format("{}{}", known.empty() ? "" : ", ", type.name);
    }
    throw FileError("{}: tensor \"{}\" has the type {}, but only {} are read", path.string(), printable(tensor),
                    printable(stored), known);
}

/// A non-negative whole number of at most 63 bits.
uint64_t whole_number(const fs::path& path, const std::string& tensor, const char* field, const json& value) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > INT64_MAX)
        throw FileError("{}: {} of tensor \"{}\" should be whole numbers, but one is {}", path.string(), field,
                        printable(tensor), printable(value.dump()));
    return value.get<uint64_t>();
}

const json& field(const fs::path& path, const std::string& tensor, const json& facts, const char* name,
                  json::value_t type) {
    if (!facts.is_object() || !facts.contains(name) || facts[name].type() != type)
        throw FileError("{}: tensor \"{}\" lacks a proper \"{}\" in the header", path.string(), printable(tensor),
                        name);
    return facts[name];
}

StoredTensor read_tensor(const MappedFile& file, uint64_t data_start, const std::string& name, const json& facts) {
    const fs::path& path = file.path();
    StoredTensor tensor{name, DType::f32, {}, {}};
    tensor.dtype = dtype_of(path, name, field(path, name, facts, "dtype", json::value_t::string).get<std::string>());
    for (const json& dim : field(path, name, facts, "shape", json::value_t::array))
        tensor.shape.push_back(static_cast<int64_t>(whole_number(path, name, "shape", dim)));
    const json& offsets = field(path, name, facts, "data_offsets", json::value_t::array);
    if (offsets.size() != 2)
        throw FileError("{}: data_offsets of tensor \"{}\" should be [begin, end]", path.string(), printable(name));
    const uint64_t begin = whole_number(path, name, "data_offsets", offsets[0]);
    const uint64_t end = whole_number(path, name, "data_offsets", offsets[1]);
    const uint64_t expected = checked_bytes(path, name, tensor.dtype, tensor.shape);
    if (end < begin || end - begin != expected)
        throw FileError("{}: tensor \"{}\" lies at [{}, {}), but its shape and type need {} bytes", path.string(),
                        printable(name), begin, end, expected);
    tensor.bytes = file.bytes(data_start + begin, expected, name);
    return tensor;
}

}  // namespace

LoadedPtr read_safetensors(std::shared_ptr<const MappedFile> file) {
    const fs::path& path = file->path();
    auto out = std::make_unique<LoadedCheckpoint>(path, "safetensors");
    ByteReader in(*file);
    const auto length = in.read<uint64_t>("the header's length");
    if (length > kLongestHeader)
        throw FileError("{}: a safetensors header of {} bytes is longer than the format allows ({})", path.string(),
                        length, kLongestHeader);
    const auto text = in.take(length, "the header");
    const json header = parse_json({reinterpret_cast<const char*>(text.data()), text.size()}, path.string(), 8);
    if (!header.is_object()) throw FileError("{}: the safetensors header should be a JSON object", path.string());
    for (const auto& [name, facts] : header.items()) {
        if (name == "__metadata__")
            out->facts[name] = facts;
        else
            out->list.push_back(read_tensor(*file, in.position(), name, facts));
    }
    // the JSON object is sorted by name; readers that stream the file want its own order
    std::stable_sort(out->list.begin(), out->list.end(),
                     [](const auto& a, const auto& b) { return a.bytes.data() < b.bytes.data(); });
    check_disjoint(path, out->list);
    out->files.push_back(std::move(file));
    out->finish();
    return out;
}

void write_safetensors(const fs::path& path, std::span<const TensorToStore> tensors,
                       const std::vector<std::pair<std::string, std::string>>& metadata) {
    std::vector<StreamedTensor> streamed;
    for (const TensorToStore& tensor : tensors)
        streamed.push_back({tensor.name, tensor.dtype, tensor.shape,
                            [&tensor](const StreamedTensor::Write& write) { write(tensor.bytes); }});
    write_safetensors_streamed(path, streamed, metadata);
}

void write_safetensors_streamed(const fs::path& path, std::span<const StreamedTensor> tensors,
                                const std::vector<std::pair<std::string, std::string>>& metadata) {
    // written by hand: a JSON object would sort the tensors by name, and the order of the data is the order given
    std::string header = "{";
    const auto quoted = [&](const std::string& text) {
        try {
            return json(text).dump();
        } catch (const json::exception&) {
            throw FileError("{}: \"{}\" is not valid UTF-8 and cannot stand in a safetensors header", path.string(),
                            printable(text));
        }
    };
    if (!metadata.empty()) {
        const std::map<std::string, std::string> sorted(metadata.begin(), metadata.end());
        header += "\"__metadata__\":{";
        for (const auto& [key, value] : sorted)
            header += fmt::format("{}{}:{}", header.back() == '{' ? "" : ",", quoted(key), quoted(value));
        header += "}";
    }
    uint64_t offset = 0;
    std::map<std::string_view, bool> seen;
    for (const StreamedTensor& tensor : tensors) {
        const auto* type = std::find_if(kTypes.begin(), kTypes.end(),
                                        [&](const StoredType& known) { return known.dtype == tensor.dtype; });
        if (type == kTypes.end())
            throw DTypeError("{}: tensor \"{}\" is {}, which safetensors cannot hold: dequantise it first",
                             path.string(), printable(tensor.name), name(tensor.dtype));
        const uint64_t expected = checked_bytes(path, tensor.name, tensor.dtype, tensor.shape);
        if (tensor.name == "__metadata__" || !seen.emplace(tensor.name, true).second)
            throw FileError("{}: two tensors cannot both be named \"{}\"", path.string(), printable(tensor.name));
        header += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                              header.size() == 1 ? "" : ",", quoted(tensor.name), type->name,
                              fmt::join(tensor.shape, ","), offset, offset + expected);
        offset += expected;
    }
    header += "}";
    header.append((64 - (header.size() + 8) % 64) % 64, ' ');

    AtomicFile file(path);
    const auto length = static_cast<uint64_t>(header.size());
    file.write(std::as_bytes(std::span(&length, 1)));
    file.write(header);
    for (const StreamedTensor& tensor : tensors) {
        const uint64_t before = file.bytes_written();
        tensor.bytes([&](std::span<const std::byte> piece) { file.write(piece); });
        const uint64_t written = file.bytes_written() - before;
        const uint64_t expected = checked_bytes(path, tensor.name, tensor.dtype, tensor.shape);
        if (written != expected)
            throw ShapeError("{}: tensor \"{}\" has {} bytes, but its shape and type need {}", path.string(),
                             printable(tensor.name), written, expected);
    }
    file.commit();
}

}  // namespace wavllm
