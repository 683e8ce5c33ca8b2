#pragma once
// WavLLM: encoder features -> bridge -> [left; speech; right; target] -> LLaMA with LoRA -> cross-entropy on the
// target; beside it, where a stage wants it, CTC on the bridge's result.

#include "autograd/ops/cross_entropy.h"
#include "models/adapter/speech_bridge.h"
#include "models/ctc_head/ctc_head.h"
#include "models/llama/llama.h"
#include "models/prompt_adapter/prompt_adapter.h"
#include "models/wavllm/sequence.h"

namespace wavllm {

/// What a training step reads.
struct SpeechBatch {
    Tensor features;          ///< [T, C] encoder output of all clips end to end; undefined for a batch without speech
    Tensor feature_borders;   ///< i64 [chunks+1]
    Tensor clip_borders;      ///< i64 [clips with speech + 1], in chunks: which of those belong to which clip
    Tensor acoustic;          ///< [layers, T2, C2] of WavLM, where the model has that branch
    Tensor acoustic_borders;  ///< i64 [clips with speech + 1]
    SequencePlan plan;
    CtcTargets ctc;  ///< undefined where no CTC loss is wanted
    /// What `plan` was made of: it is made anew where the CTC head drops rows of speech.
    std::vector<PromptIds> prompts;
    std::vector<int64_t> speech_rows, keys;
};

/// What the LLM reads.
struct LlmInput {
    Tensor x;           ///< [T, dim] embeddings of all sequences
    SequencePlan plan;  ///< of these rows
    Tensor kept;        ///< i32: which rows of speech are among them; undefined: all
};

struct StepContext {
    uint64_t seed = 0;
    uint32_t step = 0;
    bool training = false;      ///< dropout on
    double normalizer = 0;      ///< target tokens of the whole (accumulated) batch; 0: of this one
    double ce_weight = 1;       ///< 0: the LLM does not run
    double ctc_weight = 0;      ///< needs batch.ctc
    double ctc_normalizer = 0;  ///< transcript tokens of the whole batch; 0: of this one
    bool adaptive = true;  ///< false: LoRA's strength is alpha / rank although there is a prompt adapter (first stage)
    bool checkpoint_activations = false;
    const Observer* observer = nullptr;
};

struct WavllmLoss {
    Tensor loss;                 ///< [1]: ce_weight * cross-entropy + ctc_weight * CTC
    Tensor ce;                   ///< [1] or undefined
    Tensor row_losses;           ///< [N] cross-entropy of each target token, for reports
    Tensor ctc;                  ///< [1] or undefined
    int64_t ctc_infeasible = 0;  ///< clips with more tokens than rows of speech
};

class Wavllm {
public:
    /// `llama` is shared: it is frozen, and several models may stand on one.
    /// Without a prompt adapter LoRA's strength is alpha / rank always. Throws UsageError for a prompt adapter without
    /// LoRA.
    Wavllm(std::shared_ptr<const Llama> llama, SpeechBridge bridge, Lora lora, CtcHead ctc = {},
           PromptAdapter prompt_adapter = {});

    /// Cross-entropy over the target tokens divided by their number (we divide by target tokens; the released criterion
    /// by right and target tokens), and CTC over transcript tokens divided by theirs.
    WavllmLoss loss(const SpeechBatch& batch, const StepContext& context) const;
    /// Speech embeddings of a batch [T, dim] and their borders (i64 [clips with speech + 1], or
    /// of chunks where the batch has no clip_borders); [0, dim] without speech.
    Tensor speech(const SpeechBatch& batch, Tensor& borders, const Observer* observer = nullptr) const;
    /// Input embeddings of all rows of a batch, and (for generation) nothing else.
    LlmInput inputs(const SpeechBatch& batch, const Observer* observer = nullptr) const;
    /// The same around what speech() gave.
    LlmInput inputs(const SpeechBatch& batch, const Tensor& speech, const Observer* observer = nullptr) const;
    /// The LLM with LoRA on: rows through all blocks.
    Tensor run(const Tensor& x, LlamaPass pass, const LoraRun& run) const;
    /// LoRA's strength for the sequences of a plan: r of their instructions, or alpha / rank without a prompt adapter. A
    /// request's r depends on its instruction alone; compute it once and keep it with the request. Observed: "t" and
    /// what PromptAdapter::forward shows. Throws ShapeError if the plan has no instructions and they are needed.
    LoraRun lora_run(const SequencePlan& plan, const Observer* observer = nullptr) const;
    /// alpha / rank, whatever the instruction.
    LoraRun stage1_run() const;

    Parameters parameters() const;
    const Llama& llama() const {
        return *llama_;
    }
    const std::shared_ptr<const Llama>& shared_llama() const {
        return llama_;
    }
    const SpeechBridge& bridge() const {
        return bridge_;
    }
    const Lora& lora() const {
        return lora_;
    }
    const CtcHead& ctc() const {
        return ctc_;
    }
    const PromptAdapter& prompt_adapter() const {
        return prompt_adapter_;
    }

private:
    CrossEntropy cross_entropy_of(const SpeechBatch& batch, const Tensor& speech, const StepContext& context) const;

    std::shared_ptr<const Llama> llama_;
    SpeechBridge bridge_;
    Lora lora_;
    CtcHead ctc_;
    PromptAdapter prompt_adapter_;
};

}  // namespace wavllm
