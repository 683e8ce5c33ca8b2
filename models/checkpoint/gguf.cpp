// GGUF v3: "GGUF", u32 version, u64 tensors, u64 key-values; key-values; tensor table; padding to the alignment; data.
// Everything is little-endian; strings are u64 length and bytes.

#include <algorithm>

#include "models/checkpoint/gguf_format.h"
#include "models/checkpoint/readers.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

using nlohmann::json;

namespace {

constexpr int kMaxArrayDepth = 4;
// A JSON value takes 16 bytes or more, a stored u8 one: without a limit a large file of small values fills the memory.
// The largest vocabularies have three lists of 300,000 (tokens, scores or merges, types); this is 64 MB.
constexpr uint64_t kMaxValues = uint64_t{1} << 22;

/// Names of other types, so that the error can say what the file holds.
std::string_view other_type_name(uint32_t number) {
    switch (number) {
        case 6: return "Q5_0";
        case 7: return "Q5_1";
        case 9: return "Q8_1";
        case 10: return "Q2_K";
        case 11: return "Q3_K";
        case 12: return "Q4_K";
        case 13: return "Q5_K";
        case 14: return "Q6_K";
        case 15: return "Q8_K";
        case 24: return "I8";
        case 25: return "I16";
        default: return "unknown";
    }
}

class GgufReader {
public:
    explicit GgufReader(std::shared_ptr<const MappedFile> file)
        : file_(*file), in_(file_), out_(std::make_unique<LoadedCheckpoint>(file_.path(), "gguf")) {
        out_->files.push_back(std::move(file));
    }

    LoadedPtr read() {
        in_.take(4, "the magic");
        const auto version = in_.read<uint32_t>("the version");
        if (version != 3)
            throw FileError("{}: GGUF version {}, but only version 3 (little-endian) is read", path(), version);
        const auto tensors = in_.read<uint64_t>("the number of tensors");
        const auto pairs = in_.read<uint64_t>("the number of key-values");
        for (uint64_t i = 0; i < pairs; ++i) read_pair();
        const uint64_t alignment = find_alignment();
        std::vector<uint64_t> offsets;
        for (uint64_t i = 0; i < tensors; ++i) offsets.push_back(read_tensor_facts());
        // no tensors: some writers end such a file without the padding
        const uint64_t data_start = (in_.position() + alignment - 1) / alignment * alignment;
        for (size_t i = 0; i < offsets.size(); ++i) place(out_->list[i], offsets[i], data_start, alignment);
        check_disjoint(file_.path(), out_->list);
        out_->finish();
        return std::move(out_);
    }

private:
    std::string path() const {
        return file_.path().string();
    }

    std::string string(std::string_view what) {
        return in_.text(in_.read<uint64_t>(what), what);
    }

    void read_pair() {
        const std::string key = string("a metadata key");
        if (out_->facts.contains(key))
            throw FileError("{}: the metadata key \"{}\" is there twice", path(), printable(key));
        const uint64_t begin = in_.position();
        const auto type = static_cast<GgufType>(in_.read<uint32_t>(key));
        out_->facts[key] = value(type, key, 0);
        out_->key_values.emplace_back(key, file_.bytes(begin, in_.position() - begin, key));
    }

    json value(GgufType type, const std::string& key, int depth) {
        if (++values_ > kMaxValues)
            throw FileError("{}: more than {} metadata values; no model needs so many", path(), kMaxValues);
        switch (type) {
            case GgufType::u8: return in_.read<uint8_t>(key);
            case GgufType::i8: return in_.read<int8_t>(key);
            case GgufType::u16: return in_.read<uint16_t>(key);
            case GgufType::i16: return in_.read<int16_t>(key);
            case GgufType::u32: return in_.read<uint32_t>(key);
            case GgufType::i32: return in_.read<int32_t>(key);
            case GgufType::f32: return in_.read<float>(key);
            case GgufType::u64: return in_.read<uint64_t>(key);
            case GgufType::i64: return in_.read<int64_t>(key);
            case GgufType::f64: return in_.read<double>(key);
            case GgufType::string: return string(key);
            case GgufType::boolean: {
                const auto byte = in_.read<uint8_t>(key);
                if (byte > 1)
                    throw FileError("{}: metadata \"{}\" should be 0 or 1 (bool), but is {}", path(), printable(key),
                                    byte);
                return byte == 1;
            }
            case GgufType::array: return array(key, depth);
            case GgufType::end: break;
        }
        throw FileError("{}: metadata \"{}\" has the type number {}, but known are 0 to 12", path(), printable(key),
                        static_cast<uint32_t>(type));
    }

    json array(const std::string& key, int depth) {
        if (depth >= kMaxArrayDepth)
            throw FileError("{}: metadata \"{}\" nests arrays deeper than {}", path(), printable(key), kMaxArrayDepth);
        const auto type = static_cast<GgufType>(in_.read<uint32_t>(key));
        const auto count = in_.read<uint64_t>(key);
        if (type >= GgufType::end)
            throw FileError("{}: metadata \"{}\" is an array of type number {}, but known are 0 to 12", path(),
                            printable(key), static_cast<uint32_t>(type));
        if (count > in_.remaining())  // each element takes at least a byte
            throw FileError("{}: metadata \"{}\" should have {} elements, but only {} bytes are left in the file",
                            path(), printable(key), count, in_.remaining());
        json list = json::array();
        for (uint64_t i = 0; i < count; ++i) list.push_back(value(type, key, depth + 1));
        return list;
    }

    uint64_t find_alignment() const {
        const auto found = out_->facts.find("general.alignment");
        if (found == out_->facts.end()) return kGgufAlignment;
        const uint64_t alignment = found->is_number_unsigned() ? found->get<uint64_t>() : 0;
        if (alignment == 0 || alignment > (1 << 20) || (alignment & (alignment - 1)) != 0)
            throw FileError("{}: general.alignment should be a power of two up to 1048576, but is {}", path(),
                            printable(found->dump(-1, ' ', true, json::error_handler_t::replace)));
        return alignment;
    }

    /// Appends a tensor without its bytes; returns its offset in the data.
    uint64_t read_tensor_facts() {
        const std::string name = string("a tensor's name");
        const auto rank = in_.read<uint32_t>(name);
        if (rank > 4)
            throw FileError("{}: tensor \"{}\" has {} dimensions, but GGUF allows 4", path(), printable(name), rank);
        std::vector<int64_t> shape(rank);
        for (uint32_t d = 0; d < rank; ++d) shape[rank - 1 - d] = in_.read<int64_t>(name);
        const auto number = in_.read<uint32_t>(name);
        const auto offset = in_.read<uint64_t>(name);
        const auto type = std::find_if(kGgufTensorTypes.begin(), kGgufTensorTypes.end(),
                                       [&](const GgufTensorType& known) { return known.number == number; });
        if (type == kGgufTensorTypes.end()) {
            std::string known;
            for (const GgufTensorType& one : kGgufTensorTypes)
                known += fmt::format("{}{}", known.empty() ? "" : ", ", one.name);
            throw FileError("{}: tensor \"{}\" has the type {} (number {}), but only {} are read", path(),
                            printable(name), other_type_name(number), number, known);
        }
        out_->list.push_back({name, type->dtype, std::move(shape), {}});
        return offset;
    }

    void place(StoredTensor& tensor, uint64_t offset, uint64_t data_start, uint64_t alignment) const {
        if (offset % alignment != 0)
            throw FileError("{}: tensor \"{}\" stands at offset {}, which is no multiple of the alignment {}", path(),
                            printable(tensor.name), offset, alignment);
        const uint64_t length = checked_bytes(file_.path(), tensor.name, tensor.dtype, tensor.shape);
        uint64_t start = 0;
        if (__builtin_add_overflow(data_start, offset, &start)) start = UINT64_MAX;
        tensor.bytes = file_.bytes(start, length, tensor.name);
    }

    const MappedFile& file_;
    ByteReader in_;
    LoadedPtr out_;
    uint64_t values_ = 0;
};

}  // namespace

LoadedPtr read_gguf(std::shared_ptr<const MappedFile> file) {
    return GgufReader(std::move(file)).read();
}

}  // namespace wavllm
