// A checkpoint in several files, as Hugging Face writes it: NAME.index.json says which tensor is in which file.

#include <map>
#include <set>

#include "data/json.h"
#include "models/checkpoint/readers.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace fs = std::filesystem;

LoadedPtr read_parts(const fs::path& folder, const char* index_name) {
    const fs::path index_path = folder / index_name;
    const nlohmann::json index = read_json_file(index_path, 100'000'000);
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
        throw FileError("{}: it lacks the object \"weight_map\" {{tensor: file}}", index_path.string());
    std::map<std::string, std::vector<std::string>> names_of_part;
    for (const auto& [name, part] : index["weight_map"].items()) {
        const std::string file = part.is_string() ? part.get<std::string>() : "";
        // a name with a folder in it could reach any file of this machine
        if (file.empty() || file.find('/') != std::string::npos || file.find('\0') != std::string::npos || file == "..")
            throw FileError("{}: tensor \"{}\" should name a file in this folder, but names {}", index_path.string(),
                            printable(name), printable(part.dump(-1, ' ', true)));
        names_of_part[file].push_back(name);
    }
    LoadedPtr out;
    for (const auto& [file, names] : names_of_part) {
        const LoadedPtr part = open_checkpoint_file(folder / file);
        const bool expected = part->format() == "safetensors" || part->format() == "torch";
        if (!expected || (out && part->format() != out->format()))
            throw FileError("{}: {} is a {} file, but the parts should all be {}", index_path.string(), printable(file),
                            part->format(), out ? out->format() : "safetensors, or all of torch.save");
        if (!out) out = std::make_unique<LoadedCheckpoint>(folder, part->format());
        for (const std::string& name : names)
            if (!part->refused().contains(name)) out->list.push_back(part->at(name));
        if (part->list.size() + part->refused().size() != names.size())
            throw FileError("{}: {} has {} tensors, but the index lists {} of them", index_path.string(),
                            printable(file), part->list.size() + part->refused().size(), names.size());
        for (const auto& [key, fact] : part->facts.items()) out->facts[key] = fact;
        out->adopt(*part);
    }
    if (!out) throw FileError("{}: its weight_map is empty", index_path.string());
    out->finish();
    return out;
}

}  // namespace wavllm
