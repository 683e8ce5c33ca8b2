#pragma once
// The whole system out of one file: the released WavLLM checkpoint (final.pt; layout in models/checkpoint/released.h).

#include "models/checkpoint/released.h"
#include "models/wavllm/system.h"

namespace wavllm {

/// Numbers of attention heads, which no shape says; 0: heads of 64 in Whisper and of 128 in the LLaMA, as all published ones
/// have them.
struct ReleasedHeads {
    int64_t whisper = 0, llama = 0;
};

/// Those in a config.json beside the checkpoint, {"whisper_heads": 4, "llm_heads": 3}; without one, none. Throws FileError for
/// values that are no positive whole numbers.
ReleasedHeads heads_beside(const std::filesystem::path& checkpoint);
/// Heads of its LLaMA, given or of 128. Throws UsageError if they do not divide its width.
int64_t llama_heads(const ReleasedSizes& sizes, const ReleasedHeads& heads);

/// What a checkpoint of these sizes is, as a preset: the released code's 30 s padding, template, norm epsilon 1e-6 and limit
/// 3 of r, alpha = rank (so r = 1 in a first stage), no output norm. The models' names are "released".
Preset released_preset(const ReleasedSizes& sizes);

/// The parts of such a file, each held to the names below its prefix.
class ReleasedCheckpoint {
public:
    /// The checkpoint must outlive this object. Throws FileError naming what is missing, left over or of another shape
    /// than the other sizes make it, UsageError for heads that do not divide a width.
    explicit ReleasedCheckpoint(const Checkpoint& checkpoint, const ReleasedHeads& heads = {});

    const ReleasedSizes& sizes() const {
        return sizes_;
    }
    WhisperEncoder whisper(DType panels = DType::f32) const;
    WavlmEncoder wavlm(DType panels = DType::f32) const;
    Llama llama(DType panels = DType::f32) const;
    /// Adapters, joint projection, LoRA and, if it has one and it is wanted, the prompt adapter; fresh copies each time.
    Wavllm model(std::shared_ptr<const Llama> llama, bool with_prompt_adapter = true) const;

private:
    ReleasedSizes sizes_;
    Weights weights_;
    WhisperConfig whisper_;
    WavlmConfig wavlm_;
    LlamaConfig llama_;
};

/// All of it, with parameters that can be trained further.
System load_released_system(const Checkpoint& checkpoint, std::shared_ptr<const Tokenizer> tokenizer,
                            const ReleasedHeads& heads = {}, DType panels = DType::f32);

}  // namespace wavllm
