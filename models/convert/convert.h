#pragma once
// From one checkpoint to another: names, element types, the order of rotary rows. Tensors are converted piece by piece
// while they are written, so the memory it takes does not depend on the model's size.

#include <optional>

#include "models/checkpoint/gguf_writer.h"
#include "models/checkpoint/safetensors_writer.h"

namespace wavllm {

/// gguf: also the types that a GGUF file of a LLaMA has (gguf.h).
enum class LlamaNaming { as_is, meta, hugging_face, gguf };

/// Which tensors of a checkpoint, under which names. The parts of a released checkpoint become what stands alone:
/// whisper and wavlm Hugging Face's models, llama Meta's until `naming` says otherwise, adapter what is trained (LoRA and
/// prompt adapter without the LLaMA's prefix).
enum class ConvertPart { all, whisper, wavlm, llama, adapter };

struct ConvertOptions {
    ConvertPart part = ConvertPart::all;
    LlamaNaming naming = LlamaNaming::as_is;
    std::optional<DType> dtype;  ///< of what holds real numbers: f64, f32, f16 or bf16; of a GGUF's matrices also q8_0,
                                 ///< q4_1, q4_0 or int8, and not f64; none: as stored
    int64_t heads = 0, kv_heads = 0;  ///< of the LLaMA, where rows are reordered
};

/// A tensor of the result.
struct PlannedTensor {
    const StoredTensor* source;
    std::string name;
    DType dtype;
    int64_t head_dim = 0;  ///< rows of each head are reordered; 0: they stay
    bool to_meta = false;  ///< into Meta's order, else into Hugging Face's
};

struct Plan {
    std::vector<PlannedTensor> tensors;  ///< in the order of the checkpoint, or of GGUF (gguf.h)
    std::vector<std::string> left_out;   ///< names that the chosen part does not have
};

/// Throws UsageError for a part that the checkpoint does not have, for a naming of tensors that are no LLaMA's, for rows to
/// be reordered without a number of heads that fits, for block formats without a dtype, and for blocks in another file than
/// a GGUF, of another model than a LLaMA, or of rows that are no whole blocks; FileError if the checkpoint has tensors that
/// cannot be read.
Plan plan_conversion(const Checkpoint& checkpoint, const ConvertOptions& options);

/// What write_safetensors_streamed takes. The checkpoint and the plan must outlive it. Writing throws FileError, naming
/// the tensor, where a finite value is beyond the range of f16, and UsageError where one cannot be quantised.
std::vector<StreamedTensor> streamed(const Checkpoint& checkpoint, const Plan& plan);

/// Called while it works, with the bytes that were written so far and will be.
using ConvertProgress = std::function<void(uint64_t done, uint64_t total)>;

/// What safetensors has as __metadata__: an adapter's preset and the base it belongs to stand there.
using FileMetadata = std::vector<std::pair<std::string, std::string>>;
/// That of a checkpoint; empty if it has none.
FileMetadata file_metadata(const Checkpoint& checkpoint);

/// Writes Hugging Face's folder: model.safetensors, or where that would be larger than `shard_bytes` (0: no limit)
/// model-00001-of-0000N.safetensors with their index; config.json unless `config` is null. A tensor is never cut.
void write_model_folder(const std::filesystem::path& folder, const std::vector<StreamedTensor>& tensors,
                        const nlohmann::ordered_json& config, uint64_t shard_bytes, const ConvertProgress& progress,
                        const FileMetadata& metadata = {});
/// Whether a file of this name is written as torch.save's (.pt, .bin).
bool is_torch_name(const std::filesystem::path& file);
/// One file: safetensors, or what torch.load reads, as its name says. The latter has no place for metadata.
void write_model_file(const std::filesystem::path& file, const std::vector<StreamedTensor>& tensors,
                      const ConvertProgress& progress, const FileMetadata& metadata = {});
/// A GGUF file.
void write_gguf_file(const std::filesystem::path& file, const GgufMetadata& metadata,
                     const std::vector<StreamedTensor>& tensors, const ConvertProgress& progress);

}  // namespace wavllm
