#pragma once
// A LLaMA as one GGUF file: which types its tensors have there, and its metadata.

#include "models/convert/convert.h"

namespace wavllm {

/// As open_checkpoint; a file on its own that has a config.json beside it gets that as metadata()["config"], as a folder's.
std::unique_ptr<Checkpoint> open_with_config(const std::filesystem::path& path);

/// Throws UsageError, saying what can be done instead, for what cannot become a GGUF here: another model than a LLaMA, a
/// whole released checkpoint, f64.
void check_gguf_source(const Checkpoint& checkpoint, const ConvertOptions& options);

/// Whether a tensor of that name stays behind: the rotary table that some converters store and everybody computes. Throws
/// UsageError for a tensor that is none of LLaMA's (a GGUF keeps its own).
bool gguf_leaves_out(const Checkpoint& checkpoint, const std::string& name);

/// What a tensor becomes. Norms are f32. f32, f16 and bf16 are for all matrices. A block format is for those of the layers;
/// the output matrix is then q8_0, and the embedding stays in its blocks or halves and becomes bf16 otherwise: what
/// Llama::load (models/llama/llama.h) holds for that format, so that the file gives the same bits. Nothing wanted: as
/// stored, f64 as f32. Throws UsageError where rows are no whole blocks.
DType gguf_dtype(const Checkpoint& checkpoint, const StoredTensor& tensor, const std::string& name,
                 const std::optional<DType>& wanted);

/// Embedding, layers, final norm, output matrix: one order, however the source had them. A GGUF keeps its own.
void order_as_gguf(const Checkpoint& checkpoint, std::vector<PlannedTensor>& tensors);

/// The metadata of a plan's file. Those of a GGUF are kept, with the type of its weights; else they are made from the
/// configuration (llama.*) and the tokenizer (gguf_vocabulary.h). `tokenizer`: a file or folder that holds it; empty: the
/// source's own. Throws FileError where a tensor of the LLaMA is missing or has another shape than its configuration says.
GgufMetadata gguf_metadata(const Checkpoint& checkpoint, const ConvertOptions& options, const Plan& plan,
                           const std::filesystem::path& tokenizer = {});

}  // namespace wavllm
