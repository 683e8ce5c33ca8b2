#pragma once
// Manifests: which clip, which instruction, which answer. Two forms with the same names: TSV (one header row, columns
// in any order, tab-separated, no quoting, so a `"` in a field is literal) and JSONL (one object a line).

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace wavllm {

struct ManifestRow {
    std::string id;
    std::filesystem::path audio;  ///< relative paths are resolved against the manifest's folder; empty: text only
    std::string prompt;           ///< the instruction
    std::string tgt_text;         ///< the answer; may be empty
    bool with_speech = true;
    std::optional<int64_t> n_frames;     ///< a hint only: the manifests of the WavLLM release carry wrong ones
    std::optional<int64_t> start_frame;  ///< samples at 16 kHz; the row is the part [start_frame, end_frame) of audio
    std::optional<int64_t> end_frame;
    std::string speaker;
    std::string task;
    std::map<std::string, std::string> extra;  ///< unknown columns, kept and otherwise ignored
    std::string where;                         ///< "manifest path:line number", for messages
};

/// Reads a manifest: JSONL if the name ends in .jsonl or the first byte is '{', else TSV. Needed in every manifest: id,
/// audio, prompt, tgt_text; the rest may be absent (with_speech: true). audio may be empty only without speech.
/// A UTF-8 byte order mark, CRLF line ends and empty lines are accepted.
/// Throws FileError, naming file and line: missing file, no rows, missing columns (all of them), a column given twice,
/// wrong number of fields, a number, boolean or span that is none, text that is not UTF-8, damaged JSON.
std::vector<ManifestRow> read_manifest(const std::filesystem::path& path);

/// Throws FileError for the first row with speech whose audio file does not exist; names the row's id, its line and the
/// path. Call it before a long job, so that it does not stop in the middle.
void check_audio_exists(const std::vector<ManifestRow>& rows);

}  // namespace wavllm
