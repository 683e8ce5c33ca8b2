#include "data/manifest_writer.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "tensor/atomic_file.h"
#include "tensor/error.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

struct Column {
    std::string name;
    std::function<std::string(const ManifestRow&)> cell;
};

std::string number(const std::optional<int64_t>& value) {
    return value ? std::to_string(*value) : "";
}

std::string audio_cell(const fs::path& audio, const fs::path& folder) {
    if (audio.empty()) return "";
    const fs::path whole = fs::absolute(audio).lexically_normal();
    const fs::path inside = whole.lexically_relative(folder);
    return (inside.empty() || *inside.begin() == ".." ? whole : inside).string();
}

}  // namespace

void write_manifest(const fs::path& path, std::span<const ManifestRow> rows) {
    const fs::path folder = fs::absolute(path).parent_path().lexically_normal();
    std::vector<Column> columns = {
        {"id", [](const ManifestRow& r) { return r.id; }},
        {"audio", [&](const ManifestRow& r) { return audio_cell(r.audio, folder); }},
        {"n_frames", [](const ManifestRow& r) { return number(r.n_frames); }},
        {"prompt", [](const ManifestRow& r) { return r.prompt; }},
        {"tgt_text", [](const ManifestRow& r) { return r.tgt_text; }},
        {"with_speech", [](const ManifestRow& r) { return std::string(r.with_speech ? "True" : "False"); }},
        {"task", [](const ManifestRow& r) { return r.task; }},
        {"speaker", [](const ManifestRow& r) { return r.speaker; }}};
    if (std::any_of(rows.begin(), rows.end(), [](const ManifestRow& r) { return r.start_frame || r.end_frame; })) {
        columns.push_back({"start_frame", [](const ManifestRow& r) { return number(r.start_frame); }});
        columns.push_back({"end_frame", [](const ManifestRow& r) { return number(r.end_frame); }});
    }
    std::vector<std::string> extra;
    for (const ManifestRow& row : rows)
        for (const auto& [name, value] : row.extra)
            if (std::find(extra.begin(), extra.end(), name) == extra.end()) extra.push_back(name);
    for (const std::string& name : extra)
        columns.push_back({name, [name](const ManifestRow& r) {
                               const auto found = r.extra.find(name);
                               return found == r.extra.end() ? std::string() : found->second;
                           }});
    std::string text;
    for (const Column& c : columns) text += (text.empty() ? "" : "\t") + c.name;
    text += '\n';
    for (const ManifestRow& row : rows) {
        for (size_t c = 0; c < columns.size(); ++c) {
            const std::string cell = columns[c].cell(row);
            if (cell.find_first_of("\t\r\n") != std::string::npos)
                throw UsageError("{}: row '{}': {} has a tab or a line end, which a TSV manifest cannot hold",
                                 path.string(), row.id, columns[c].name);
            text += (c ? "\t" : "") + cell;
        }
        text += '\n';
    }
    write_file_atomically(path, text);
}

}  // namespace wavllm
