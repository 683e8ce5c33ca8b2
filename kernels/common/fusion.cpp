#include "kernels/common/fusion.h"

#include <map>

#include "tensor/error.h"

namespace wavllm {

namespace {

struct Entry {
    std::string_view composition;
    bool on = true;
};

std::map<std::string_view, Entry>& table() {
    static auto* t = new std::map<std::string_view, Entry>;
    return *t;
}

}  // namespace

bool fused(std::string_view name) {
    const auto it = table().find(name);
    if (it == table().end()) throw Error("fusion \"{}\" is not registered; add WAVLLM_FUSION({}, ...)", name, name);
    return it->second.on;
}

void set_fusion(std::string_view setting) {
    for (auto& [name, entry] : table()) entry.on = setting != "off";
    if (setting == "on" || setting == "off") return;
    for (size_t at = 0; at <= setting.size();) {
        const size_t comma = std::min(setting.find(',', at), setting.size());
        const std::string_view name = setting.substr(at, comma - at);
        const auto it = table().find(name);
        if (it == table().end()) {
            std::vector<std::string_view> known;
            for (auto& [k, v] : table()) known.push_back(k);
            throw UsageError("--fusion: unknown fusion \"{}\"; use on, off, or names of: {}", name,
                             fmt::join(known, ", "));
        }
        it->second.on = false;
        at = comma + 1;
    }
}

std::vector<FusionInfo> fusions() {
    std::vector<FusionInfo> result;
    for (auto& [name, entry] : table()) result.push_back({name, entry.composition});
    return result;
}

bool detail::register_fusion(FusionInfo info) {
    table()[info.name] = {info.composition};
    return true;
}

}  // namespace wavllm
