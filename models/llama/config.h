#pragma once
#include <array>
#include <utility>

#include "kernels/rope/rope.h"
#include "models/checkpoint/checkpoint.h"

namespace wavllm {

/// Sizes of a LLaMA-architecture model (LLaMA-2, SmolLM2, TinyLlama).
struct LlamaConfig {
    int64_t dim = 0, layers = 0, heads = 0, kv_heads = 0, ffn = 0, vocab = 0;
    int64_t max_positions = 2048;
    double norm_eps = 1e-5;  ///< 1e-6 in the released WavLLM code, 1e-5 in Hugging Face's config of LLaMA-2
    double rope_theta = 10000;
    RopeLayout rope_layout = RopeLayout::interleaved;  ///< Meta, GGUF; Hugging Face weights are half_split

    int64_t head_dim() const {
        return dim / heads;
    }
    /// Input and output features of the projections q, k, v, o, which LoRA sits on.
    std::array<std::pair<int64_t, int64_t>, 4> lora_dims() const {
        const int64_t kv = kv_heads * head_dim();
        return {{{dim, dim}, {dim, kv}, {dim, kv}, {dim, dim}}};
    }
    /// Throws UsageError naming the value that makes no sense.
    void check() const;
};

/// From a GGUF's metadata, or from the config.json of a Hugging Face folder. Throws FileError naming a key that is missing or
/// no number of its kind, and what Llama does not compute: scaled or partial rotations (rope_scaling, rope_freqs.weight),
/// biases, another activation, heads that are not dim / heads wide.
LlamaConfig llama_config(const Checkpoint& checkpoint);

}  // namespace wavllm
