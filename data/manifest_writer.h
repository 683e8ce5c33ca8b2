#pragma once
// Writes what data/manifest.h reads.

#include <filesystem>
#include <span>
#include <string>

#include "data/manifest.h"

namespace wavllm {

/// The rows as a TSV file, put in place in one step: id, audio, n_frames, prompt, tgt_text, with_speech, task, speaker,
/// then the extra columns of all rows in the order of their first use (spans of a clip only where a row has one).
/// audio is written relative to the manifest's folder if it lies below it, else absolute.
/// Throws FileError if the file cannot be written, UsageError for a field with a tab or a line end.
void write_manifest(const std::filesystem::path& path, std::span<const ManifestRow> rows);

}  // namespace wavllm
