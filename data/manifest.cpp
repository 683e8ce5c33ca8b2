#include "data/manifest.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>

#include "tensor/error.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 4> kRequired = {"id", "audio", "prompt", "tgt_text"};
constexpr int kDeepestJson = 16;  // a row is flat; nesting without end would exhaust the stack of whoever prints it

std::string read_text(const fs::path& path) {
    if (fs::is_directory(path)) throw FileError("{}: is a folder; expected a manifest file", path.string());
    std::ifstream in(path, std::ios::binary);
    if (!in) throw FileError("{}: cannot open the manifest: {}", path.string(), std::strerror(errno));
    std::string text{std::istreambuf_iterator<char>(in), {}};
    if (in.bad()) throw FileError("{}: read error", path.string());
    if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
    return text;
}

/// Non-empty lines with their numbers from 1, without line ends.
std::vector<std::pair<int, std::string_view>> split_lines(std::string_view text) {
    std::vector<std::pair<int, std::string_view>> lines;
    for (int number = 1; !text.empty(); ++number) {
        const size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (!line.empty()) lines.emplace_back(number, line);
    }
    return lines;
}

std::vector<std::string_view> split_tabs(std::string_view line) {
    std::vector<std::string_view> fields;
    while (true) {
        const size_t tab = line.find('\t');
        fields.push_back(line.substr(0, tab));
        if (tab == std::string_view::npos) return fields;
        line.remove_prefix(tab + 1);
    }
}

void check_utf8(std::string_view line, const std::string& where) {
    utf8proc_ssize_t at = 0;
    const auto size = static_cast<utf8proc_ssize_t>(line.size());
    while (at < size) {
        utf8proc_int32_t code = 0;
        const utf8proc_ssize_t n =
            utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(line.data()) + at, size - at, &code);
        if (n < 1) throw FileError("{}: byte {} of the line is not UTF-8; save the manifest as UTF-8", where, at + 1);
        at += n;
    }
}

std::string join(const std::vector<std::string>& names) {
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
    return out;
}

int64_t parse_samples(const std::string& column, std::string_view value, const std::string& where) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc{} || end != value.data() + value.size() || number < 0)
        throw FileError("{}: {} is '{}'; expected a whole number of samples, 0 or more", where, column, value);
    return number;
}

bool parse_bool(const std::string& column, std::string_view value, const std::string& where) {
    for (std::string_view yes : {"True", "true", "TRUE", "1"})
        if (value == yes) return true;
    for (std::string_view no : {"False", "false", "FALSE", "0"})
        if (value == no) return false;
    throw FileError("{}: {} is '{}'; expected True or False", where, column, value);
}

void set_field(ManifestRow& row, const std::string& column, std::string value, const fs::path& folder) {
    const auto samples = [&]() -> std::optional<int64_t> {
        if (value.empty()) return std::nullopt;
        return parse_samples(column, value, row.where);
    };
    if (column == "id")
        row.id = std::move(value);
    else if (column == "audio")
        row.audio = value.empty() ? fs::path{} : folder / value;
    else if (column == "prompt")
        row.prompt = std::move(value);
    else if (column == "tgt_text")
        row.tgt_text = std::move(value);
    else if (column == "with_speech")
        row.with_speech = value.empty() || parse_bool(column, value, row.where);
    else if (column == "n_frames")
        row.n_frames = samples();
    else if (column == "start_frame")
        row.start_frame = samples();
    else if (column == "end_frame")
        row.end_frame = samples();
    else if (column == "speaker")
        row.speaker = std::move(value);
    else if (column == "task")
        row.task = std::move(value);
    else
        row.extra[column] = std::move(value);
}

void check_row(const ManifestRow& row) {
    if (row.id.empty()) throw FileError("{}: the id is empty", row.where);
    if (row.with_speech && row.audio.empty())
        throw FileError("{}: row '{}' has no audio; give a path, or set with_speech to False", row.where, row.id);
    if (row.end_frame && *row.end_frame <= row.start_frame.value_or(0))
        throw FileError("{}: row '{}': end_frame {} is not after start_frame {}", row.where, row.id, *row.end_frame,
                        row.start_frame.value_or(0));
}

std::vector<ManifestRow> read_tsv(const fs::path& path, std::string_view text) {
    const auto lines = split_lines(text);
    std::vector<std::string> columns;
    if (!lines.empty()) {
        const std::string where = fmt::format("{}:{}", path.string(), lines[0].first);
        check_utf8(lines[0].second, where);
        for (std::string_view name : split_tabs(lines[0].second)) {
            if (std::find(columns.begin(), columns.end(), name) != columns.end())
                throw FileError("{}: the column '{}' is given twice", where, name);
            columns.emplace_back(name);
        }
        std::vector<std::string> missing;
        for (std::string_view name : kRequired)
            if (std::find(columns.begin(), columns.end(), name) == columns.end()) missing.emplace_back(name);
        if (!missing.empty())
            throw FileError("{}: the header row lacks {}; found: {} (columns are separated by tabs)", where,
                            join(missing), join(columns));
    }
    std::vector<ManifestRow> rows;
    for (size_t i = 1; i < lines.size(); ++i) {
        ManifestRow row;
        row.where = fmt::format("{}:{}", path.string(), lines[i].first);
        check_utf8(lines[i].second, row.where);
        const std::vector<std::string_view> fields = split_tabs(lines[i].second);
        if (fields.size() != columns.size())
            throw FileError("{}: the row has {} fields; the header row has {} (separated by tabs)", row.where,
                            fields.size(), columns.size());
        for (size_t c = 0; c < columns.size(); ++c)
            set_field(row, columns[c], std::string(fields[c]), path.parent_path());
        check_row(row);
        rows.push_back(std::move(row));
    }
    return rows;
}

nlohmann::json parse_object(std::string_view line, const std::string& where) {
    nlohmann::json object;
    try {
        object = nlohmann::json::parse(line, [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
            if (depth > kDeepestJson) throw FileError("{}: the JSON is nested deeper than {}", where, kDeepestJson);
            return true;
        });
    } catch (const nlohmann::json::parse_error& error) {
        throw FileError("{}: not a JSON object on one line (problem at byte {})", where, error.byte);
    }
    if (!object.is_object()) throw FileError("{}: expected a JSON object, found {}", where, object.type_name());
    return object;
}

/// The text of a value as a TSV cell would hold it.
std::string cell(const nlohmann::json& value) {
    return value.is_string() ? value.get<std::string>() : value.is_null() ? "" : value.dump();
}

std::vector<ManifestRow> read_jsonl(const fs::path& path, std::string_view text) {
    std::vector<ManifestRow> rows;
    for (const auto& [number, line] : split_lines(text)) {
        ManifestRow row;
        row.where = fmt::format("{}:{}", path.string(), number);
        const nlohmann::json object = parse_object(line, row.where);
        std::vector<std::string> missing;
        for (std::string_view name : kRequired)
            if (!object.contains(name)) missing.emplace_back(name);
        if (!missing.empty()) throw FileError("{}: the object lacks {}", row.where, join(missing));
        for (std::string_view name : {"id", "audio", "prompt", "tgt_text"})
            if (const auto& value = object.at(std::string(name)); value.is_structured())
                throw FileError("{}: {} is an {}; expected text", row.where, name, value.type_name());
        for (const auto& [key, value] : object.items()) set_field(row, key, cell(value), path.parent_path());
        check_row(row);
        rows.push_back(std::move(row));
    }
    return rows;
}

}  // namespace

std::vector<ManifestRow> read_manifest(const fs::path& path) {
    const std::string text = read_text(path);
    const bool jsonl = path.extension() == ".jsonl" || text.starts_with('{');
    std::vector<ManifestRow> rows = jsonl ? read_jsonl(path, text) : read_tsv(path, text);
    if (rows.empty())
        throw FileError("{}: the manifest has no rows; expected {}", path.string(),
                        jsonl ? "one JSON object a line" : "a header row and one row for each clip");
    return rows;
}

void check_audio_exists(const std::vector<ManifestRow>& rows) {
    for (const ManifestRow& row : rows) {
        std::error_code ignored;
        if (row.with_speech && !fs::is_regular_file(row.audio, ignored))
            throw FileError("{}: the audio of row '{}' does not exist: {}", row.where, row.id, row.audio.string());
    }
}

}  // namespace wavllm
