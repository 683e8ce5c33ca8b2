#include "models/convert/llama_names.h"

#include <array>

namespace wavllm {

namespace {

struct Names {
    std::string_view hugging_face, meta, gguf;
};
constexpr std::array<Names, 3> kOutside{{{"model.embed_tokens.weight", "tok_embeddings.weight", "token_embd.weight"},
                                         {"model.norm.weight", "norm.weight", "output_norm.weight"},
                                         {"lm_head.weight", "output.weight", "output.weight"}}};
constexpr std::array<Names, 9> kInLayer{{{"input_layernorm.weight", "attention_norm.weight", "attn_norm.weight"},
                                         {"self_attn.q_proj.weight", "attention.wq.weight", "attn_q.weight"},
                                         {"self_attn.k_proj.weight", "attention.wk.weight", "attn_k.weight"},
                                         {"self_attn.v_proj.weight", "attention.wv.weight", "attn_v.weight"},
                                         {"self_attn.o_proj.weight", "attention.wo.weight", "attn_output.weight"},
                                         {"post_attention_layernorm.weight", "ffn_norm.weight", "ffn_norm.weight"},
                                         {"mlp.gate_proj.weight", "feed_forward.w1.weight", "ffn_gate.weight"},
                                         {"mlp.down_proj.weight", "feed_forward.w2.weight", "ffn_down.weight"},
                                         {"mlp.up_proj.weight", "feed_forward.w3.weight", "ffn_up.weight"}}};

}  // namespace

std::optional<LlamaName> llama_name(std::string_view name) {
    for (const Names& n : kOutside)
        if (name == n.hugging_face || name == n.meta || name == n.gguf)
            return LlamaName{std::string(n.hugging_face), std::string(n.meta), name == n.hugging_face};
    for (const std::string_view layers : {"model.layers.", "layers.", "blk."}) {
        if (!name.starts_with(layers)) continue;
        std::string_view rest = name.substr(layers.size());
        const size_t dot = rest.find('.');
        if (dot == 0 || dot > 6 || rest.substr(0, dot).find_first_not_of("0123456789") != std::string_view::npos)
            return std::nullopt;
        const std::string layer(rest.substr(0, dot));
        rest.remove_prefix(dot + 1);
        for (const Names& n : kInLayer) {
            const bool hugging_face = layers == "model.layers.";
            if (rest != (hugging_face ? n.hugging_face : layers == "blk." ? n.gguf : n.meta)) continue;
            LlamaName result{"model.layers." + layer + "." + std::string(n.hugging_face),
                             "layers." + layer + "." + std::string(n.meta), hugging_face};
            if (n.meta == "attention.wq.weight") result.rows = LlamaName::Rows::of_q;
            if (n.meta == "attention.wk.weight") result.rows = LlamaName::Rows::of_k;
            return result;
        }
    }
    return std::nullopt;
}

}  // namespace wavllm
