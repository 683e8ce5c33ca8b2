#include "models/llama/trainable.h"

#include <cmath>

#include "autograd/ops/add.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/mul.h"
#include "autograd/ops/rms_norm.h"
#include "autograd/ops/rope.h"
#include "autograd/ops/silu.h"
#include "autograd/ops/view.h"
#include "models/llama/llama.h"

namespace wavllm {

TrainableLlama::TrainableLlama(LlamaConfig config, uint64_t seed) : config_(config) {
    config_.rope_layout = RopeLayout::half_split;
    config_.check();
    const int64_t d = config_.dim, kv = config_.kv_heads * config_.head_dim(), ffn = config_.ffn;
    const auto keep = [&](const Tensor& t) {
        parameters_.push_back({std::string(t.label()), t, "llama"});
        return t;
    };
    // standard deviation 0.02, as LLaMA-like models are trained from (a uniform distribution's is bound / sqrt(3))
    const double bound = 0.02 * std::sqrt(3.0);
    const auto matrix = [&](const std::string& name, int64_t out, int64_t in, double scale = 1) {
        return keep(uniform_parameter({out, in}, bound * scale, seed, name));
    };
    const auto ones = [&](const std::string& name) { return keep(constant_parameter({d}, 1, name)); };
    embedding_ = matrix("model.embed_tokens.weight", config_.vocab, d);
    // what is added to the residual stream, by as many branches as there are (Radford et al. 2019, GPT-2)
    const double branch = 1 / std::sqrt(2.0 * static_cast<double>(config_.layers));
    for (int64_t i = 0; i < config_.layers; ++i) {
        const std::string layer = fmt::format("model.layers.{}.", i), attention = layer + "self_attn.",
                          mlp = layer + "mlp.";
        Block b;
        b.attention_norm = ones(layer + "input_layernorm.weight");
        b.q = matrix(attention + "q_proj.weight", d, d);
        b.k = matrix(attention + "k_proj.weight", kv, d);
        b.v = matrix(attention + "v_proj.weight", kv, d);
        b.o = matrix(attention + "o_proj.weight", d, d, branch);
        b.ffn_norm = ones(layer + "post_attention_layernorm.weight");
        b.gate = matrix(mlp + "gate_proj.weight", ffn, d);
        b.up = matrix(mlp + "up_proj.weight", ffn, d);
        b.down = matrix(mlp + "down_proj.weight", d, ffn, branch);
        blocks_.push_back(std::move(b));
    }
    norm_ = ones("model.norm.weight");
    PurposeScope scope(Purpose::weights);
    const RopeTable table = make_rope_table(config_.max_positions, config_.head_dim(), config_.rope_theta);
    rope_ = {table.cos.to(model_device()), table.sin.to(model_device())};
}

Tensor TrainableLlama::attend(const Block& b, const Tensor& x, const Tensor& positions, const Tensor& borders) const {
    const int64_t dh = config_.head_dim();
    const auto heads = [&](const Tensor& w, int64_t n) { return reshape(linear(x, w), {x.dim(0), n, dh}); };
    const auto rotate = [&](const Tensor& y) { return rope(y, positions, rope_, config_.rope_layout); };
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(dh)));
    const AttentionLayout layout{borders, borders, AttentionMask::causal, scale};
    return linear(attention(rotate(heads(b.q, config_.heads)), rotate(heads(b.k, config_.kv_heads)),
                            heads(b.v, config_.kv_heads), layout),
                  b.o);
}

Tensor TrainableLlama::forward(const Tensor& ids, const Tensor& borders) const {
    const Tensor positions = LlamaPass::positions_for(borders);
    const float eps = config_.norm_eps;
    Tensor h = wavllm::embedding(embedding_, ids);
    for (const Block& b : blocks_) {
        h = h + attend(b, rms_norm(h, b.attention_norm, eps), positions, borders);
        const Tensor x = rms_norm(h, b.ffn_norm, eps);
        h = h + linear(mul(silu(linear(x, b.gate)), linear(x, b.up)), b.down);
    }
    return rms_norm(h, norm_, eps);
}

}  // namespace wavllm
