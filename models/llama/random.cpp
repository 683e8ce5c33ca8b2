#include "models/llama/random.h"

#include "models/random_checkpoint.h"

namespace wavllm {

Llama random_llama(const LlamaConfig& config, uint64_t seed, bool tied, DType panels) {
    config.check();
    RandomCheckpoint c(seed, panels == DType::f32 ? DType::f32 : DType::bf16);
    const int64_t d = config.dim, kv = config.kv_heads * config.head_dim();
    c.matrix("tok_embeddings.weight", {config.vocab, d});
    c.constant("norm.weight", d, 1);
    if (!tied) c.matrix("output.weight", {config.vocab, d});
    for (int64_t i = 0; i < config.layers; ++i) {
        const std::string p = fmt::format("layers.{}.", i);
        c.constant(p + "attention_norm.weight", d, 1);
        c.constant(p + "ffn_norm.weight", d, 1);
        c.matrix(p + "attention.wq.weight", {d, d});
        c.matrix(p + "attention.wk.weight", {kv, d});
        c.matrix(p + "attention.wv.weight", {kv, d});
        c.matrix(p + "attention.wo.weight", {d, d});
        c.matrix(p + "feed_forward.w1.weight", {config.ffn, d});
        c.matrix(p + "feed_forward.w3.weight", {config.ffn, d});
        c.matrix(p + "feed_forward.w2.weight", {d, config.ffn});
    }
    c.finish();
    const Weights weights(c);
    Llama llama = Llama::load(weights, config, panels);
    weights.finish();
    return llama;
}

}  // namespace wavllm
