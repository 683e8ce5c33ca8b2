#pragma once
// The prompt adapter (WavLLM section 3.1, equations 2 to 4): from the instruction to the strength r of LoRA, one vector
// a request. The second training stage has it; without it the strength is the number alpha / rank.

#include "models/observer.h"
#include "models/parameter.h"
#include "models/weights.h"

namespace wavllm {

struct PromptAdapterConfig {
    int64_t dim = 0;     ///< of the LLM, and of r
    int64_t hidden = 0;  ///< between its two linear layers; 1024 in the paper's model
    /// r before the first step: alpha / rank, so that the second stage starts where the first one ended.
    double start = 1;
    /// The released code limits r to [0, clamp], with 3; 0: no limits, as in the paper.
    double clamp = 0;
};

/// o = fc2(gelu(fc1(t)))      a = softmax of w o + b over the rows of an instruction      r = sum of a * o
///
/// Since the a of an instruction add up to one, fc2's bias may be added to the sum instead of to every o, and changes no a:
/// that is what is computed. So with fc2's weight zero r is fc2's bias to the bit, whatever a is; and every parameter is
/// used once, so that a batch cut in pieces gives the same gradients to the bit.
///
/// A new one has fc2.weight = 0 and fc2.bias = alpha / rank. So r is alpha / rank for every instruction: the first step
/// of the second stage has the losses of a model without it. fc2 learns in that step; fc1 and w, which reach r through
/// fc2.weight only, from the next. (Zeroing fc1 instead would leave fc1 and fc2.weight without gradients for good, since
/// each would wait for the other; random fc2.weight would throw away what LoRA learned about its strength.)
class PromptAdapter {
public:
    PromptAdapter() = default;
    PromptAdapter(const PromptAdapterConfig& config, uint64_t seed);
    /// "scale_fc_1", "scale_fc_2", "scale_weight_attention", as in the released checkpoint below its LLaMA.
    static PromptAdapter load(const Weights& weights, const PromptAdapterConfig& config);

    bool defined() const {
        return fc1_.defined();
    }
    const PromptAdapterConfig& config() const {
        return config_;
    }
    /// t: [M, dim] the instructions after all blocks of the LLM without LoRA and without the final norm, end to end;
    /// borders: i64 [S+1]. Returns r [S, dim]; a row depends on its own instruction alone. Observed: "fc1" (before
    /// GELU), "o", "a", "r_raw", "r". Throws ShapeError for an instruction without tokens.
    Tensor forward(const Tensor& t, const Tensor& borders, const Observer* observer = nullptr) const;
    Parameters parameters() const;

private:
    PromptAdapterConfig config_;
    Tensor fc1_, fc1_bias_;      // [hidden, dim], [hidden]
    Tensor fc2_, fc2_bias_;      // [dim, hidden], [dim]
    Tensor score_, score_bias_;  // [1, dim], [1]
};

/// r for the key and value projections of a model in which several query heads share a key-value head: [S, heads * d] ->
/// [S, kv_heads * d], the part of the first query head of each group. The paper's LLaMA has as many of both, and one r
/// serves all four projections; there this is r itself.
Tensor shared_heads(const Tensor& r, int64_t heads, int64_t kv_heads);

}  // namespace wavllm
