#include "wavllm/verify/torch_files.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>

#include "data/json.h"
#include "models/checkpoint/checkpoint.h"
#include "models/weights.h"

namespace wavllm::verify {

namespace {

namespace fs = std::filesystem;

const char* const kVariants[] = {"torch_variants.pt", "torch_variants_legacy.pt", "torch_variants_foreign.pt"};
const char* const kReleased[] = {"final.pt", "final_f16.pt"};
const char* const kValues = "torch_variants.safetensors";

/// Shape and numbers as bytes, so that they are compared to the bit: rank, dimensions, then each number as an i64 or the
/// bits of a double, whatever type it has in the file.
class Exactly {
public:
    explicit Exactly(const std::vector<int64_t>& shape) {
        words_ = {static_cast<int64_t>(shape.size())};
        words_.insert(words_.end(), shape.begin(), shape.end());
    }
    template <class T>
    void read(std::span<const std::byte> bytes) {
        for (size_t i = 0; i + sizeof(T) <= bytes.size(); i += sizeof(T)) {
            T v;
            std::memcpy(&v, bytes.data() + i, sizeof v);
            if constexpr (std::is_integral_v<T>)
                words_.push_back(v);
            else if constexpr (std::is_floating_point_v<T>)
                words_.push_back(std::bit_cast<int64_t>(static_cast<double>(v)));
            else
                words_.push_back(std::bit_cast<int64_t>(static_cast<double>(to_f32(v))));
        }
    }
    Tensor tensor() const {
        std::vector<uint8_t> bytes(words_.size() * sizeof(int64_t));
        std::memcpy(bytes.data(), words_.data(), bytes.size());
        return Tensor::from(bytes, {static_cast<int64_t>(bytes.size())});
    }

private:
    std::vector<int64_t> words_;
};

Tensor exactly(const StoredTensor& s) {
    Exactly e(s.shape);
    switch (s.dtype) {
        case DType::f64: e.read<double>(s.bytes); break;
        case DType::f32: e.read<float>(s.bytes); break;
        case DType::f16: e.read<f16>(s.bytes); break;
        case DType::bf16: e.read<bf16>(s.bytes); break;
        case DType::i64: e.read<int64_t>(s.bytes); break;
        case DType::i32: e.read<int32_t>(s.bytes); break;
        case DType::u8: e.read<uint8_t>(s.bytes); break;
        default: throw FileError("\"{}\" is {}: no number of torch's", s.name, info(s.dtype).name);
    }
    return e.tensor();
}

/// Two of this file's types (bool, i16) are none of ours, so no Checkpoint opens it; it is read here, type by type.
void expect_variants(Comparison& c, const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    const std::string file{std::istreambuf_iterator<char>(in), {}};
    uint64_t length = 0;
    if (file.size() >= sizeof length) std::memcpy(&length, file.data(), sizeof length);
    if (length == 0 || length > file.size() - sizeof length)
        throw FileError("{}: not a safetensors file", path.string());
    const auto data = std::as_bytes(std::span(file)).subspan(sizeof length + length);
    const nlohmann::json header = parse_json(file.substr(sizeof length, length), path.string());
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__") continue;
        const auto offsets = entry.at("data_offsets").get<std::vector<size_t>>();
        if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data.size())
            throw FileError("{}: \"{}\" lies outside the file", path.string(), name);
        const auto bytes = data.subspan(offsets[0], offsets[1] - offsets[0]);
        const std::string type = entry.at("dtype");
        Exactly e(entry.at("shape").get<std::vector<int64_t>>());
        if (type == "F64") e.read<double>(bytes);
        if (type == "F32") e.read<float>(bytes);
        if (type == "F16") e.read<f16>(bytes);
        if (type == "BF16") e.read<bf16>(bytes);
        if (type == "I64") e.read<int64_t>(bytes);
        if (type == "I32") e.read<int32_t>(bytes);
        if (type == "I16") e.read<int16_t>(bytes);
        if (type == "U8" || type == "BOOL") e.read<uint8_t>(bytes);
        c.expect({.file = kValues, .name = name, .what = type, .value = e.tensor()});
    }
}

/// torch names the parts of a normed weight in two ways; final.pt has the older one, model.safetensors the newer.
std::string parametrized(const std::string& name) {
    for (const auto& [older, newer] : {std::pair("weight_g", "parametrizations.weight.original0"),
                                       std::pair("weight_v", "parametrizations.weight.original1")})
        if (name.ends_with(older)) return name.substr(0, name.size() - std::strlen(older)) + newer;
    return name;
}

Tensor count_of(size_t n) {
    return Tensor::from(std::vector<int64_t>{static_cast<int64_t>(n)}, {1});
}

}  // namespace

void expect_torch_files(Comparison& c, const fs::path& folder) {
    size_t variants = 0;
    if (fs::exists(folder / kValues)) {
        expect_variants(c, folder / kValues);
        const auto names = c.names();
        variants = static_cast<size_t>(
            std::count_if(names.begin(), names.end(), [](const auto& n) { return n.first == kValues; }));
    }
    for (const char* name : kVariants)
        if (fs::exists(folder / name))
            c.expect({.file = name, .name = "*", .what = "number of tensors", .value = count_of(variants)});
    for (const char* name : kReleased) {
        if (!fs::exists(folder / name)) continue;
        const auto model = open_checkpoint(folder / "model.safetensors");
        c.expect({.file = name, .name = "*", .what = "number of tensors", .value = count_of(model->tensors().size())});
        for (const StoredTensor& s : model->tensors())
            c.expect({.file = name, .name = s.name, .value = to_tensor(s).to(DType::f32)});
    }
}

void check_torch_files(Comparison& c, const fs::path& folder) {
    for (const char* name : kVariants) {
        if (!fs::exists(folder / name)) continue;
        const auto file = open_checkpoint(folder / name);
        c.computed(name, "*", count_of(file->tensors().size()));
        for (const StoredTensor& s : file->tensors()) c.computed(kValues, s.name, exactly(s), name);
    }
    for (const char* name : kReleased) {
        if (!fs::exists(folder / name) || !c.wanted(name)) continue;
        const auto file = open_checkpoint(folder / name);
        c.computed(name, "*", count_of(file->tensors().size()));
        for (const StoredTensor& s : file->tensors())
            c.computed(name, parametrized(s.name), to_tensor(s).to(DType::f32));
    }
}

}  // namespace wavllm::verify
