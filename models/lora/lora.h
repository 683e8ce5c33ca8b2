#pragma once
// LoRA on the attention projections of a LLaMA (Hu et al. 2021; WavLLM section 3.1): y = W0 x + ((drop(x) A) B) *
// scale.

#include <array>

#include "autograd/ops/lora_linear.h"
#include "models/parameter.h"
#include "models/weights.h"

namespace wavllm {

enum class LoraTarget { q, k, v, o };
inline constexpr std::array<const char*, 4> kLoraTargets = {"wq", "wk", "wv", "wo"};

struct LoraConfig {
    int64_t rank = 32;
    double alpha = 32;     ///< stage-1 scale is alpha / rank
    double dropout = 0.1;  ///< on the LoRA input, in training only
    /// Which of q, k, v, o have an update; the paper's model all four.
    std::array<bool, 4> targets{true, true, true, true};
};

/// "q,k,v,o" or some of them; throws UsageError for other letters, none, or one twice.
std::array<bool, 4> lora_targets(std::string_view letters);

struct LoraPair {
    Tensor a;  ///< [in, rank]
    Tensor b;  ///< [rank, out]
    uint32_t dropout_purpose = 0;
};

/// What changes from step to step: the strength, and the dropout that belongs to it.
struct LoraRun {
    LoraScale scale{};  ///< with r: one row a sequence of the pass, whose borders it takes (Llama::forward)
    Tensor kv_r{};      ///< r of the key and value projections, where they are narrower than the others
    float dropout = 0;  ///< 0 outside training
    uint64_t seed = 0;
    uint32_t step = 0;
    Tensor row_keys{};  ///< i64 [rows]: a clip's own, so that its masks do not depend on the batch

    /// The same for other sequences: the i-th has the strength of sequence index[i] of this one. i32 [n].
    LoraRun of(const Tensor& index) const;
    /// The same with the strength times `factor`, for inference: below 1 the model listens less to what LoRA was trained for
    /// and more to the instruction, which SALMONN calls activation tuning. 1 changes nothing, not even a bit; 0 is the LLM
    /// without LoRA.
    LoraRun times(double factor) const;
};

class Lora {
public:
    Lora() = default;
    /// A uniform in +-1/sqrt(in) (Kaiming with a = sqrt 5, as PEFT does), B zero: the model starts as the base model.
    /// dims: input and output features of q, k, v, o.
    Lora(const LoraConfig& config, int64_t layers, const std::array<std::pair<int64_t, int64_t>, 4>& dims,
         uint64_t seed);
    /// From "layers.N.attention.{wq,wk,wv,wo}_lora_{A,B}".
    static Lora load(const Weights& weights, const LoraConfig& config, int64_t layers,
                     const std::array<std::pair<int64_t, int64_t>, 4>& dims);

    bool defined() const {
        return !pairs_.empty();
    }
    const LoraConfig& config() const {
        return config_;
    }
    float stage1_scale() const {
        return static_cast<float>(config_.alpha / static_cast<double>(config_.rank));
    }
    const LoraPair& pair(int64_t layer, LoraTarget target) const {
        return pairs_[static_cast<size_t>(layer * 4 + static_cast<int>(target))];
    }
    /// y = W x, plus the update of this layer and target if run is given.
    Tensor apply(const Tensor& x, const PackedWeight& w, int64_t layer, LoraTarget target, const LoraRun* run) const;
    Parameters parameters() const;

private:
    LoraConfig config_;
    std::vector<LoraPair> pairs_;  // layer by layer: q, k, v, o
};

}  // namespace wavllm
