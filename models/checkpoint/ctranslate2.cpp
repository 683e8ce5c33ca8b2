// CTranslate2 model.bin, version 6, little-endian: u32 version; string spec name; u32 revision; u32 count; then for
// each tensor: string name, u8 rank, u32 dims, u8 type, u32 bytes, data; then u32 count of aliases, pairs of strings
// (alias, name). A string is a u16 length, which counts a final zero byte, and its bytes.

#include <algorithm>

#include "models/checkpoint/readers.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

using nlohmann::json;

namespace {

enum Type : uint8_t { kF32 = 0, kI8 = 1, kI16 = 2, kI32 = 3, kF16 = 4 };

class CTranslate2Reader {
public:
    explicit CTranslate2Reader(std::shared_ptr<const MappedFile> file)
        : file_(*file), in_(file_), out_(std::make_unique<LoadedCheckpoint>(file_.path(), "ctranslate2")) {
        out_->files.push_back(std::move(file));
    }

    LoadedPtr read() {
        const auto version = in_.read<uint32_t>("the version");
        if (version != 6)
            throw FileError(
                "{}: CTranslate2 model version {}, but only version 6 is read: convert it again with "
                "CTranslate2 2.0 or later",
                path(), version);
        out_->facts["version"] = version;
        out_->facts["spec"] = string("the spec's name");
        out_->facts["revision"] = in_.read<uint32_t>("the spec's revision");
        out_->facts["settings"] = json::object();
        out_->facts["aliases"] = json::object();
        const auto count = in_.read<uint32_t>("the number of tensors");
        for (uint32_t i = 0; i < count; ++i) read_tensor();
        out_->finish();
        read_aliases();
        out_->finish();
        if (in_.remaining() != 0)
            throw FileError("{}: {} bytes follow after the end of the model: it is damaged", path(), in_.remaining());
        return std::move(out_);
    }

private:
    std::string path() const {
        return file_.path().string();
    }

    std::string string(std::string_view what) {
        const auto length = in_.read<uint16_t>(what);
        std::string text = in_.text(length, what);
        if (text.empty() || text.back() != '\0')
            throw FileError("{}: {} at offset {} lacks its final zero byte: it is damaged", path(), printable(what),
                            in_.position());
        text.pop_back();
        return text;
    }

    void read_tensor() {
        const std::string name = string("a tensor's name");
        const auto rank = in_.read<uint8_t>(name);
        if (rank > 8)
            throw FileError("{}: tensor \"{}\" has {} dimensions, more than 8", path(), printable(name), rank);
        std::vector<int64_t> shape;
        for (int d = 0; d < rank; ++d) shape.push_back(in_.read<uint32_t>(name));
        const auto type = in_.read<uint8_t>(name);
        const auto stored = in_.read<uint32_t>(name);
        const auto bytes = in_.take(stored, name);
        if (type > kF16)
            throw FileError("{}: tensor \"{}\" has the type number {}, but known are 0 (f32), 3 (i32) and 4 (f16)",
                            path(), printable(name), type);

        const uint64_t elements = checked_elements(file_.path(), name, shape);
        const uint64_t size = type == kI8 ? 1 : type == kI16 || type == kF16 ? 2 : 4;
        uint64_t expected = 0;
        if (__builtin_mul_overflow(elements, size, &expected) || expected != stored)
            throw FileError("{}: tensor \"{}\" has {} bytes, but its shape and type need {} x {}", path(),
                            printable(name), stored, elements, size);
        if (rank == 0 && type != kF32 && type != kF16) {
            add_setting(name, type, bytes);
            return;
        }
        if (type == kI8 || type == kI16)
            throw FileError(
                "{}: tensor \"{}\" is stored as {}: this model was quantised; convert it again as float32 or "
                "float16 (ct2-transformers-converter --quantization float16)",
                path(), printable(name), type == kI8 ? "int8" : "int16");
        const DType dtype = type == kF32 ? DType::f32 : type == kI32 ? DType::i32 : DType::f16;
        out_->list.push_back({name, dtype, std::move(shape), bytes});
    }

    void add_setting(const std::string& name, uint8_t type, std::span<const std::byte> bytes) {
        int32_t value = 0;
        if (type == kI8) value = static_cast<int8_t>(bytes[0]);
        if (type == kI16) {
            int16_t half = 0;
            std::memcpy(&half, bytes.data(), 2);
            value = half;
        }
        if (type == kI32) std::memcpy(&value, bytes.data(), 4);
        if (out_->facts["settings"].contains(name))
            throw FileError("{}: the setting \"{}\" is there twice", path(), printable(name));
        out_->facts["settings"][name] = value;
    }

    void read_aliases() {
        const auto count = in_.read<uint32_t>("the number of aliases");
        json& aliases = out_->facts["aliases"];
        std::vector<StoredTensor> added;
        for (uint32_t i = 0; i < count; ++i) {
            const std::string alias = string("an alias");
            const std::string target = string("an alias's tensor");
            const json& settings = out_->facts["settings"];
            if (settings.contains(target)) {
                const json copied = settings[target];
                if (settings.contains(alias))
                    throw FileError("{}: the setting \"{}\" is there twice", path(), printable(alias));
                out_->facts["settings"][alias] = copied;
            } else {
                StoredTensor tensor = out_->at(target);
                tensor.name = alias;
                added.push_back(std::move(tensor));
            }
            aliases[alias] = target;
        }
        for (StoredTensor& tensor : added) out_->list.push_back(std::move(tensor));
    }

    const MappedFile& file_;
    ByteReader in_;
    LoadedPtr out_;
};

}  // namespace

LoadedPtr read_ctranslate2(std::shared_ptr<const MappedFile> file) {
    return CTranslate2Reader(std::move(file)).read();
}

}  // namespace wavllm
