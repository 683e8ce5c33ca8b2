#include "models/checkpoint/checkpoint.h"

#include <algorithm>

#include "data/json.h"
#include "models/checkpoint/readers.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace fs = std::filesystem;

void Checkpoint::index_names() {
    const auto& list = tensors();
    index_.clear();
    index_.reserve(list.size());
    for (size_t i = 0; i < list.size(); ++i)
        if (!index_.emplace(list[i].name, i).second)
            throw FileError("{}: tensor \"{}\" is there twice", path_.string(), printable(list[i].name));
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
    const auto found = index_.find(name);
    if (found != index_.end()) return &tensors()[found->second];
    if (const auto problem = refused_.find(name); problem != refused_.end())
        throw FileError("{}: tensor \"{}\" cannot be read: {}", path_.string(), printable(name), problem->second);
    return nullptr;
}

const StoredTensor& Checkpoint::at(std::string_view name) const {
    if (const StoredTensor* tensor = find(name)) return *tensor;
    std::vector<std::string> known;
    for (const StoredTensor& tensor : tensors()) known.push_back(tensor.name);
    const std::string_view nearest = nearest_name(name, known);
    throw FileError("{}: no tensor \"{}\" among its {}{}", path_.string(), printable(name), known.size(),
                    nearest.empty() ? "" : fmt::format("; the nearest name is \"{}\"", printable(nearest)));
}

void Checkpoint::row(const StoredTensor& t, int64_t row, float* to) const {
    const auto columns = static_cast<size_t>(t.shape.back());
    const size_t bytes = bytes_for(t.dtype, columns);
    dequantize(t.dtype, t.bytes.subspan(static_cast<size_t>(row) * bytes, bytes).data(), to, columns);
}

uint64_t checked_elements(const fs::path& path, std::string_view tensor, std::span<const int64_t> shape) {
    int64_t count = 1;
    bool empty = false;
    for (const int64_t dim : shape) {
        if (dim < 0)
            throw FileError("{}: tensor \"{}\" has the impossible dimension {}", path.string(), printable(tensor),
                            static_cast<uint64_t>(dim));
        empty |= dim == 0;
        if (__builtin_mul_overflow(count, std::max<int64_t>(dim, 1), &count))
            throw FileError("{}: the shape of tensor \"{}\" has more elements than 63 bits can count", path.string(),
                            printable(tensor));
    }
    return empty ? 0 : static_cast<uint64_t>(count);
}

uint64_t checked_bytes(const fs::path& path, std::string_view tensor, DType dtype, std::span<const int64_t> shape) {
    const DTypeInfo& facts = info(dtype);
    const uint64_t elements = checked_elements(path, tensor, shape);
    const int64_t row = shape.empty() ? 1 : shape.back();
    if (row % facts.block_elements != 0)
        throw FileError("{}: rows of tensor \"{}\" have {} elements, but {} stores whole blocks of {}", path.string(),
                        printable(tensor), row, facts.name, facts.block_elements);
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(elements / static_cast<uint64_t>(facts.block_elements),
                               static_cast<uint64_t>(facts.block_bytes), &bytes))
        throw FileError("{}: tensor \"{}\" has more bytes than 64 bits can count", path.string(), printable(tensor));
    return bytes;
}

void check_disjoint(const fs::path& path, std::span<const StoredTensor> tensors) {
    std::vector<const StoredTensor*> order;
    for (const StoredTensor& tensor : tensors)
        if (!tensor.bytes.empty()) order.push_back(&tensor);
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->bytes.data() < b->bytes.data(); });
    for (size_t i = 1; i < order.size(); ++i)
        if (order[i - 1]->bytes.data() + order[i - 1]->bytes.size() > order[i]->bytes.data())
            throw FileError("{}: tensors \"{}\" and \"{}\" overlap in the file: it is damaged", path.string(),
                            printable(order[i - 1]->name), printable(order[i]->name));
}

LoadedPtr open_checkpoint_file(const fs::path& path) {
    auto file = std::make_shared<const MappedFile>(path);
    if (file->size() == 0) throw FileError("{}: the file is empty (0 bytes)", path.string());
    if (file->size() < 8) throw FileError("{}: {} bytes are too few for a checkpoint", path.string(), file->size());
    ByteReader reader(*file);
    const std::string magic = reader.text(8, "the first bytes");
    uint64_t word = 0;
    std::memcpy(&word, magic.data(), 8);
    if (magic.starts_with("GGUF")) return read_gguf(std::move(file));
    if (magic.starts_with("PK\x03\x04")) return read_torch_zip(std::move(file));
    if (is_torch_legacy(*file)) return read_torch_legacy(std::move(file));
    // safetensors: u64 length of a JSON object that follows at once; CTranslate2: u32 version, then a string of at
    // least one byte
    if (word <= 100'000'000 && file->size() >= 9 && file->all()[8] == std::byte{'{'})
        return read_safetensors(std::move(file));
    const auto version = static_cast<uint32_t>(word);
    if (version >= 1 && version <= 32 && (word >> 32 & 0xFFFF) > 0 && (word >> 32 & 0xFFFF) < 64)
        return read_ctranslate2(std::move(file));
    throw FileError(
        "{}: not a checkpoint that can be read: it begins with \"{}\"; known are GGUF v3, CTranslate2 model.bin, "
        "safetensors, files of torch.save, and folders of Hugging Face models",
        path.string(), printable(magic, 8));
}

std::unique_ptr<Checkpoint> open_checkpoint(const fs::path& path) {
    std::error_code unreadable;  // then opening it says why
    const auto has = [&](const char* name) { return fs::exists(path / name, unreadable); };
    if (!fs::is_directory(path, unreadable)) return open_checkpoint_file(path);
    LoadedPtr loaded;
    for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                             "pytorch_model.bin.index.json", "model.bin"}) {
        if (!has(name)) continue;
        loaded = std::string_view(name).ends_with(".json") ? read_parts(path, name) : open_checkpoint_file(path / name);
        break;
    }
    if (!loaded)
        throw FileError(
            "{}: this folder has neither model.safetensors nor pytorch_model.bin, nor the .index.json of one, nor "
            "CTranslate2's model.bin; name the checkpoint file itself",
            path.string());
    if (has("config.json")) loaded->facts["config"] = read_json_file(path / "config.json", 1 << 24);
    return loaded;
}

}  // namespace wavllm
