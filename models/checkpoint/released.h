#pragma once
// The layout of the released WavLLM checkpoint (final.pt): every tensor it has, by name and shape, as its sizes make it.
// The key map of the whole system: parts load their own with Weights::under(prefix).

#include <string>
#include <vector>

#include "models/checkpoint/checkpoint.h"

namespace wavllm {

/// Names that Whisper, WavLM and LLaMA have below these prefixes are Hugging Face's (WhisperEncoder, WavLMModel) and
/// Meta's.
inline constexpr const char* kReleasedWhisper = "audio_encoder.model.";
inline constexpr const char* kReleasedWavlm = "wavlm_encoder.model.";
inline constexpr const char* kReleasedLlama = "gpt_model.model_llama.";

struct ReleasedTensor {
    std::string name;  ///< in the file
    std::string part;  ///< "Whisper encoder", "semantic adapter", ...: released_parts()
    std::vector<int64_t> shape;
};

struct ReleasedPart {
    std::string name;
    std::string trained;  ///< "frozen", "stage 1", "stage 2" or "unused"
    int64_t tensors = 0, parameters = 0;
};

/// Sizes that follow from shapes. Heads do not; they are the configuration's.
struct ReleasedSizes {
    struct Adapter {
        int64_t in = 0, mid = 0, dim = 0, bottleneck = 0, out = 0;
    };
    int64_t whisper_dim = 0, whisper_layers = 0, whisper_ffn = 0, mels = 0, positions = 0;
    int64_t wavlm_dim = 0, wavlm_layers = 0, wavlm_ffn = 0, wavlm_heads = 0, buckets = 0;
    std::vector<std::pair<int64_t, int64_t>> convolutions;  ///< of WavLM: channels, taps
    int64_t position_taps = 0, position_groups = 0;
    bool parametrized = false;  ///< newer PyTorch's names of the positional convolution's weight norm
    Adapter semantic, acoustic;
    int64_t dim = 0, layers = 0, ffn = 0, vocab = 0, lora_rank = 0;
    int64_t prompt_bottleneck = 0;   ///< 0: stage 1, without a prompt adapter
    bool masked_spec_embed = false;  ///< of WavLM's training; unused
    bool audio_proj = false;         ///< the projection of a model without WavLM; unused with it
};

/// Whether a checkpoint is in this layout: it has the LLaMA and the Whisper of it.
bool is_released(const Checkpoint& checkpoint);
/// Throws FileError naming the first tensor that is missing or has another number of dimensions.
ReleasedSizes released_sizes(const Checkpoint& checkpoint);
/// Whether training changes it: adapters, joint projection, LoRA and prompt adapter.
bool is_trained(const ReleasedTensor& tensor);
/// Every tensor that a checkpoint of these sizes has.
std::vector<ReleasedTensor> released_tensors(const ReleasedSizes& sizes);

struct ReleasedReport {
    ReleasedSizes sizes;
    std::vector<ReleasedPart> parts;
    std::vector<std::string> missing, left_over, misshapen;  ///< names; misshapen with both shapes
    std::vector<std::string> unused;                         ///< names that belong to the layout and that nothing reads

    bool whole() const {
        return missing.empty() && left_over.empty() && misshapen.empty();
    }
    /// The first few of each list of what is wrong, on one line.
    std::string problems() const;
};

/// Holds a checkpoint to its own sizes. Throws FileError as released_sizes does.
ReleasedReport check_released(const Checkpoint& checkpoint);

}  // namespace wavllm
