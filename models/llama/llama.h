#pragma once
// A frozen LLaMA-architecture language model (Touvron et al. 2023): pre-norm blocks of grouped-query attention with
// rotary positions and a SwiGLU feed-forward, RMSNorm throughout. Gradients pass through it to its inputs and to LoRA.

#include "autograd/ops/attention.h"
#include "models/llama/config.h"
#include "models/llama/kv_cache.h"
#include "models/lora/lora.h"
#include "models/observer.h"

namespace wavllm {

struct LlamaBlock {
    Tensor attention_norm, ffn_norm;  // [dim]
    PackedWeight q, k, v, o;
    PackedWeight gate_up;  // gate's rows, then up's: one product
    PackedWeight down;
};

/// One pass over a batch of sequences laid end to end, without padding.
struct LlamaPass {
    Tensor borders;              ///< i64 [S+1]: which rows belong to which sequence
    Tensor positions;            ///< i32 [T]
    const Lora* lora = nullptr;  ///< null: the base model
    LoraRun run{};               ///< of lora; a copy, since the backward pass may run the blocks again
    KvCache* cache = nullptr;    ///< inference only: rows continue what it holds
    /// For one row a sequence, on the device: i64 [S], what the cache holds with these rows. The pass then reads nothing on
    /// the CPU, so that it can be captured (tensor/graph.h; positions are on the device too), and whoever wrote the lengths
    /// also advances the cache. Undefined: the pass asks and advances the cache itself.
    Tensor lengths{};
    int64_t longest = 0;                  ///< of lengths: none is larger; how much of the cache is looked at
    bool checkpoint_activations = false;  ///< keep only the blocks' inputs for the backward pass
    const Observer* observer = nullptr;   ///< "layer0.queries", ".keys", ".values", "layer0", ...

    /// Positions from 0 (or from what the cache holds) for these borders.
    static Tensor positions_for(const Tensor& borders, const KvCache* cache = nullptr);
};

class Llama {
public:
    /// Weights in Meta's, Hugging Face's or GGUF's naming, told by the names that are there. Without an output matrix
    /// the embedding is used for it (tied). panels: f32, or bf16: half the memory, an embedding stored as f32 too, and
    /// all products, attention's too, take factors rounded to bf16; or int8, q8_0, q4_1, q4_0: these for the
    /// matrices of the blocks, q8_0 for the head, and bf16 for an embedding stored as f32.
    static Llama load(const Weights& weights, const LlamaConfig& config, DType panels = DType::f32);

    const LlamaConfig& config() const {
        return config_;
    }
    Device device() const {
        return norm_.device();
    }
    DType dtype() const {
        return norm_.dtype();  ///< of all that it computes: f32, or f64 in the reference mode
    }
    /// What somebody computed in f32, to go on with: on device(), widened if dtype() is f64.
    Tensor input(const Tensor& t) const {
        return (t.dtype() == dtype() ? t : t.to(dtype())).to(device());
    }
    /// Token embeddings [T, dim] of i32 ids.
    Tensor embed(const Tensor& ids) const;
    /// Root mean square over the embedding table: what an adapter's output norm aims at.
    double embedding_rms() const;
    /// x [T, dim] through all blocks, without the final norm.
    Tensor forward(const Tensor& x, const LlamaPass& pass) const;
    Tensor final_norm(const Tensor& h) const;
    const PackedWeight& head() const {
        return head_;
    }
    /// Logits [N, vocab] of rows after forward().
    Tensor logits(const Tensor& h) const;
    /// Input and output features of q, k, v, o.
    std::array<std::pair<int64_t, int64_t>, 4> lora_dims() const;

private:
    Tensor block(int64_t layer, const Tensor& x, const LlamaPass& pass) const;
    Tensor attention(int64_t layer, const Tensor& x, const LlamaPass& pass) const;
    Tensor cached_attention(int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                            const LlamaPass& pass) const;

    LlamaConfig config_;
    Tensor embedding_, norm_;
    PackedWeight head_;
    std::vector<LlamaBlock> blocks_;
    RopeTable rope_;
};

}  // namespace wavllm
