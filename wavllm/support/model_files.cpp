#include "wavllm/support/model_files.h"

#include <algorithm>

#include "data/json.h"
#include "data/progress.h"
#include "models/download.h"
#include "tensor/error.h"
#include "tensor/text.h"
#include "wavllm/support/home.h"

namespace wavllm {

namespace fs = std::filesystem;

namespace {

/// A name that begins as a known one ("smollm2") means that one, however many letters are missing.
void check_known(const std::string& name, const fs::path& sources) {
    std::vector<std::string> known;
    const nlohmann::json root = read_json_file(sources, 1 << 20);
    for (const auto& [k, entry] : root.items()) known.push_back(k);
    if (std::find(known.begin(), known.end(), name) != known.end()) return;
    const auto longer = std::find_if(known.begin(), known.end(), [&](const auto& k) { return k.starts_with(name); });
    throw UsageError("no model, file or folder \"{}\"; did you mean {}? Known by name: {}", printable(name),
                     longer != known.end() ? *longer : std::string(nearest_name(name, known)), fmt::join(known, ", "));
}

}  // namespace

ModelFiles find_model(const std::string& name_or_path) {
    ModelFiles result;
    result.name = name_or_path;
    if (fs::exists(name_or_path)) {
        result.local = true;
        result.files["model"] = name_or_path;
        return result;
    }
    if (name_or_path.find('/') != std::string::npos || fs::path(name_or_path).has_extension())
        throw FileError("{}: no such file or folder", printable(name_or_path));
    const fs::path sources = home_folder() / "presets" / "sources.json";
    check_known(name_or_path, sources);
    const RemoteModel model = remote_model(sources, name_or_path);
    Progress bar(name_or_path, 0, "B");
    bool shown = false;
    result.files = fetch_model(model, [&](std::string_view doing, uint64_t done, uint64_t total) {
        bar.set_total(static_cast<int64_t>(total));
        bar.update(static_cast<int64_t>(done), doing);
        shown |= done > 0;
    });
    if (shown) bar.finish();
    return result;
}

}  // namespace wavllm
