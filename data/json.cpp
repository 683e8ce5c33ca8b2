#include "data/json.h"

#include <fstream>
#include <unordered_set>
#include <vector>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

using nlohmann::json;

json parse_json(std::string_view text, const std::string& what, int max_depth) {
    std::vector<std::unordered_set<std::string>> keys;
    const json::parser_callback_t check = [&](int depth, json::parse_event_t event, json& value) {
        switch (event) {
            case json::parse_event_t::object_start:
            case json::parse_event_t::array_start:
                if (depth >= max_depth)
                    throw FileError("{}: this JSON is nested deeper than {} levels", what, max_depth);
                keys.emplace_back();
                break;
            case json::parse_event_t::object_end:
            case json::parse_event_t::array_end: keys.pop_back(); break;
            case json::parse_event_t::key:
                if (!keys.back().insert(value.get_ref<const std::string&>()).second)
                    throw FileError("{}: the JSON key \"{}\" stands twice in one object", what,
                                    printable(value.get_ref<const std::string&>()));
                break;
            case json::parse_event_t::value: break;
        }
        return true;
    };
    try {
        return json::parse(text.begin(), text.end(), check);
    } catch (const json::exception& error) {
        throw FileError("{}: not valid JSON: {}", what, printable(error.what(), 200));
    }
}

json read_json_file(const std::filesystem::path& path, uint64_t max_bytes) {
    std::error_code failed;
    const uint64_t size = std::filesystem::file_size(path, failed);
    if (failed) throw FileError("cannot read {}: {}", path.string(), failed.message());
    if (size > max_bytes)
        throw FileError("{}: {} bytes are too many for a JSON file; at most {} are read", path.string(), size,
                        max_bytes);
    std::ifstream in(path, std::ios::binary);
    std::string text(size, '\0');
    if (!in.read(text.data(), static_cast<std::streamsize>(size)))
        throw FileError("cannot read {}: it ended early or cannot be opened", path.string());
    return parse_json(text, path.string());
}

}  // namespace wavllm
