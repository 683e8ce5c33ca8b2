#pragma once
// A LLaMA whose every weight is trained: for pre-training. Llama (llama.h) is the same model frozen, with packed weights.

#include "kernels/rope/rope.h"
#include "models/llama/config.h"
#include "models/parameter.h"

namespace wavllm {

class TrainableLlama {
public:
    /// New weights from a seed, the output matrix tied to the embedding. Names and the order of rotary pairs are Hugging
    /// Face's (config.rope_layout is set to half_split).
    TrainableLlama(LlamaConfig config, uint64_t seed);

    const LlamaConfig& config() const {
        return config_;
    }
    /// ids: i32 [T], sequences end to end with borders i64 [S + 1], positions from 0. The hidden states after the final norm,
    /// [T, dim]; the logits are linear(of them, embedding()).
    Tensor forward(const Tensor& ids, const Tensor& borders) const;
    /// [vocab, dim].
    const Tensor& embedding() const {
        return embedding_;
    }
    /// By their names in a Hugging Face checkpoint, group "llama".
    const Parameters& parameters() const {
        return parameters_;
    }

private:
    struct Block {
        Tensor attention_norm, q, k, v, o, ffn_norm, gate, up, down;
    };
    Tensor attend(const Block& b, const Tensor& x, const Tensor& positions, const Tensor& borders) const;

    LlamaConfig config_;
    Tensor embedding_, norm_;
    std::vector<Block> blocks_;
    RopeTable rope_;
    Parameters parameters_;
};

}  // namespace wavllm
