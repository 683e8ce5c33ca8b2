// The three namings of the same tensors.

#include <cmath>

#include "models/llama/llama.h"
#include "tensor/model_dtype.h"

namespace wavllm {

namespace {

struct Naming {
    const char *embedding, *norm, *output, *layers;
    const char *attention_norm, *q, *k, *v, *o, *ffn_norm, *gate, *up, *down;
};

constexpr Naming kMeta = {
    "tok_embeddings.weight", "norm.weight",         "output.weight",          "layers.",
    "attention_norm.weight", "attention.wq.weight", "attention.wk.weight",    "attention.wv.weight",
    "attention.wo.weight",   "ffn_norm.weight",     "feed_forward.w1.weight", "feed_forward.w3.weight",
    "feed_forward.w2.weight"};
constexpr Naming kHuggingFace = {"model.embed_tokens.weight",
                                 "model.norm.weight",
                                 "lm_head.weight",
                                 "model.layers.",
                                 "input_layernorm.weight",
                                 "self_attn.q_proj.weight",
                                 "self_attn.k_proj.weight",
                                 "self_attn.v_proj.weight",
                                 "self_attn.o_proj.weight",
                                 "post_attention_layernorm.weight",
                                 "mlp.gate_proj.weight",
                                 "mlp.up_proj.weight",
                                 "mlp.down_proj.weight"};
constexpr Naming kGguf = {"token_embd.weight",  "output_norm.weight", "output.weight",   "blk.",
                          "attn_norm.weight",   "attn_q.weight",      "attn_k.weight",   "attn_v.weight",
                          "attn_output.weight", "ffn_norm.weight",    "ffn_gate.weight", "ffn_up.weight",
                          "ffn_down.weight"};

}  // namespace

Llama Llama::load(const Weights& weights, const LlamaConfig& config, DType panels) {
    config.check();
    const Naming& n = weights.has(kHuggingFace.embedding) ? kHuggingFace : weights.has(kGguf.embedding) ? kGguf : kMeta;
    Llama m;
    m.config_ = config;
    const int64_t d = config.dim, kv = config.kv_heads * config.head_dim();
    m.embedding_ = weights.stored(n.embedding, {config.vocab, d});
    m.norm_ = weights.f32(n.norm, {d});
    if (panels != DType::f32 && m.embedding_.dtype() == DType::f32) {
        PurposeScope scope(Purpose::weights);
        m.embedding_ = m.embedding_.to(DType::bf16).set_label(m.embedding_.label());
    }
    // The head's errors go straight into the logits: 4 bits there cost SmolLM2 a tenth of its perplexity.
    const DType head = info(panels).frozen_block ? DType::q8_0 : panels;
    m.head_ = weights.has(n.output) ? weights.packed(n.output, config.vocab, d, head)
                                    : PackedWeight::pack(m.embedding_, head);
    for (int64_t i = 0; i < config.layers; ++i) {
        const Weights w = weights.under(fmt::format("{}{}.", n.layers, i));
        w.ignore("self_attn.rotary_emb.inv_freq");  // a table that older transformers stored
        m.blocks_.push_back({.attention_norm = w.f32(n.attention_norm, {d}),
                             .ffn_norm = w.f32(n.ffn_norm, {d}),
                             .q = w.packed(n.q, d, d, panels),
                             .k = w.packed(n.k, kv, d, panels),
                             .v = w.packed(n.v, kv, d, panels),
                             .o = w.packed(n.o, d, d, panels),
                             .gate_up = w.packed({n.gate, n.up}, 2 * config.ffn, d, panels),
                             .down = w.packed(n.down, d, config.ffn, panels)});
    }
    PurposeScope scope(Purpose::weights);
    const RopeTable table = make_rope_table(config.max_positions, config.head_dim(), config.rope_theta, model_dtype());
    m.rope_ = {table.cos.to(model_device()), table.sin.to(model_device())};
    return m;
}

double Llama::embedding_rms() const {
    double squares = 0;
    for (double v : embedding_.values()) squares += v * v;
    return std::sqrt(squares / static_cast<double>(embedding_.numel()));
}

std::array<std::pair<int64_t, int64_t>, 4> Llama::lora_dims() const {
    return config_.lora_dims();
}

}  // namespace wavllm
