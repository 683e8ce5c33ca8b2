#pragma once
// WavLLM: encoder features -> bridge -> [left; speech; right; target] -> LLaMA with LoRA -> cross-entropy on the
// target.

#include "autograd/ops/cross_entropy.h"
#include "models/adapter/speech_bridge.h"
#include "models/llama/llama.h"
#include "models/wavllm/sequence.h"

namespace wavllm {

/// What a training step reads.
struct SpeechBatch {
    Tensor features;          ///< [T, C] encoder output of all clips end to end; undefined for a batch without speech
    Tensor feature_borders;   ///< i64 [S+1]
    Tensor acoustic;          ///< [layers, T2, C2] of WavLM, where the model has that branch
    Tensor acoustic_borders;  ///< i64 [S+1]
    SequencePlan plan;
};

struct StepContext {
    uint64_t seed = 0;
    uint32_t step = 0;
    bool training = false;  ///< dropout on
    double normalizer = 0;  ///< target tokens of the whole (accumulated) batch; 0: of this one
    bool checkpoint_activations = false;
    const Observer* observer = nullptr;
};

class Wavllm {
public:
    /// `llama` is shared: it is frozen, and several models may stand on one.
    Wavllm(std::shared_ptr<const Llama> llama, SpeechBridge bridge, Lora lora)
        : llama_(std::move(llama)), bridge_(std::move(bridge)), lora_(std::move(lora)) {}

    /// Cross-entropy over the target tokens divided by their number (we divide by target tokens; the released criterion
    /// by right and target tokens).
    CrossEntropy loss(const SpeechBatch& batch, const StepContext& context) const;
    /// Input embeddings of all rows of a batch, and (for generation) nothing else.
    Tensor inputs(const SpeechBatch& batch, const Observer* observer = nullptr) const;
    /// The LLM with stage-1 LoRA on: rows through all blocks.
    Tensor run(const Tensor& x, LlamaPass pass, const LoraRun& run) const;
    LoraRun stage1_run() const;

    Parameters parameters() const;
    const Llama& llama() const {
        return *llama_;
    }
    const SpeechBridge& bridge() const {
        return bridge_;
    }
    const Lora& lora() const {
        return lora_;
    }

private:
    std::shared_ptr<const Llama> llama_;
    SpeechBridge bridge_;
    Lora lora_;
};

}  // namespace wavllm
