// Files of torch.save: a zip archive of stored members (PyTorch 1.6 and later), and the layout before it, five pickles
// and then the storages. Both hold one pickle with the objects and, outside it, the bytes of the storages.

#include <algorithm>
#include <array>
#include <map>

#include "models/checkpoint/torch/torch_tensors.h"
#include "models/checkpoint/torch/zip_index.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

using pickle::Kind;
using pickle::Ref;
using pickle::Tree;

/// LONG1 of 10 bytes: torch's magic number 0x1950a86a20f9469cfc6c.
constexpr std::array<unsigned char, 12> kMagic{0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

/// Throws FileError unless a storage of so many elements is as long as its bytes.
void check_length(const MappedFile& file, const TorchStorage& s, const TorchType& type, uint64_t bytes) {
    uint64_t expected = 0;
    if (__builtin_mul_overflow(s.root, static_cast<uint64_t>(type.bytes), &expected) || expected != bytes)
        throw FileError("{}: storage \"{}\" should have {} elements of {} bytes, but the file has {} bytes of it",
                        file.path().string(), printable(s.key), s.root, type.bytes, bytes);
}

}  // namespace

LoadedPtr read_torch_zip(std::shared_ptr<const MappedFile> file) {
    const auto& path = file->path();
    const auto members = stored_zip_members(*file);
    std::string folder;
    for (const auto& [name, bytes] : members)
        if (const size_t slash = name.find('/'); slash != std::string::npos && name.substr(slash) == "/data.pkl")
            folder = name.substr(0, slash + 1);
    if (folder.empty())
        throw FileError("{}: a zip archive without NAME/data.pkl: not a file of torch.save", path.string());
    if (const auto order = members.find(folder + "byteorder"); order != members.end()) {
        const std::string_view text(reinterpret_cast<const char*>(order->second.data()), order->second.size());
        if (text != "little")
            throw FileError("{}: its byte order is \"{}\", but only little is read", path.string(), printable(text));
    }
    const Tree tree(members.at(folder + "data.pkl"), path);
    const StorageBytes storage = [&](const TorchStorage& s, const TorchType& type) {
        const auto member = members.find(folder + "data/" + s.key);
        if (member == members.end())
            throw FileError("{}: storage \"{}\" is not in the archive", path.string(), printable(s.key));
        check_length(*file, s, type, member->second.size());
        return member->second;
    };
    auto out = std::make_unique<LoadedCheckpoint>(path, "torch");
    out->facts["layout"] = "zip";
    read_torch_tree(*out, tree, storage, file->size());
    out->files.push_back(std::move(file));
    out->finish();
    return out;
}

bool is_torch_legacy(const MappedFile& file) {
    // PROTO, from protocol 4 on a FRAME, and the magic number
    const auto head = file.all().subspan(0, std::min<uint64_t>(file.size(), 32));
    if (head.size() < 14 || head[0] != std::byte{0x80}) return false;
    return std::search(head.begin(), head.end(), kMagic.begin(), kMagic.end(),
                       [](std::byte a, unsigned char b) { return a == std::byte{b}; }) != head.end();
}

LoadedPtr read_torch_legacy(std::shared_ptr<const MappedFile> file) {
    const auto& path = file->path();
    std::span<const std::byte> rest = file->all();
    const auto next = [&] {
        Tree tree(rest, path);
        rest = rest.subspan(tree.length());
        return tree;
    };
    next();  // the magic number
    const Tree protocol = next();
    if (!protocol.is_integer(protocol.root()) || protocol.integer(protocol.root()) != 1001)
        throw FileError("{}: its torch protocol is not 1001", path.string());
    const Tree system = next();
    const auto facts = system.items(system.root());
    for (size_t i = 0; i + 1 < facts.size(); i += 2)
        if (system.text(facts[i]) == "little_endian" && system.integer(facts[i + 1]) == 0)
            throw FileError("{}: its byte order is big, but only little is read", path.string());
    const Tree tree = next();
    const Tree keys = next();

    // how long the bytes of a storage are stands in the pickle, with the tensors
    std::map<std::string, TorchStorage, std::less<>> named;
    std::string problem;
    for (size_t i = 0; i < tree.size(); ++i)
        if (tree.kind(static_cast<Ref>(i)) == Kind::persistent)
            if (const auto s = torch_storage(tree, static_cast<Ref>(i), problem)) named.emplace(s->key, *s);
    std::map<std::string, std::span<const std::byte>, std::less<>> bytes;
    ByteReader in(*file);
    in.take(file->size() - rest.size(), "the pickles");
    for (const Ref item : keys.items(keys.root())) {
        const std::string key(keys.text(item));
        const auto s = named.find(key);
        const TorchType* type = s == named.end() ? nullptr : torch_type(s->second.type);
        if (type == nullptr)
            throw FileError("{}: storage \"{}\" has a type that is not read, so the ones behind it cannot be found",
                            path.string(), printable(key));
        const auto elements = in.read<uint64_t>("the length of a storage");
        uint64_t length = 0;
        if (elements != s->second.root || __builtin_mul_overflow(elements, static_cast<uint64_t>(type->bytes), &length))
            throw FileError("{}: storage \"{}\" should have {} elements, but says {}", path.string(), printable(key),
                            s->second.root, elements);
        bytes.emplace(key, in.take(length, "storage " + key));
    }

    const StorageBytes storage = [&](const TorchStorage& s, const TorchType& type) {
        const auto found = bytes.find(s.key);
        if (found == bytes.end())
            throw FileError("{}: storage \"{}\" is not in the file", path.string(), printable(s.key));
        check_length(*file, s, type, found->second.size());
        return found->second;
    };
    auto out = std::make_unique<LoadedCheckpoint>(path, "torch");
    out->facts["layout"] = "before PyTorch 1.6";
    read_torch_tree(*out, tree, storage, file->size());
    out->files.push_back(std::move(file));
    out->finish();
    return out;
}

}  // namespace wavllm
