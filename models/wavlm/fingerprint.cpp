#include "models/fingerprint.h"

#include "models/wavlm/encoder.h"

namespace wavllm {

std::string WavlmEncoder::fingerprint() const {
    Fingerprint f;
    const WavlmConfig& c = config_;
    f.numbers("wavlm", c.dim, c.layers, c.heads, c.ffn, c.conv_bias, c.conv_layer_norm, c.position_kernel,
              c.position_groups, c.buckets, c.max_distance, c.pre_norm, static_cast<float>(c.norm_eps));
    for (size_t i = 0; i < c.conv_dim.size(); ++i) f.numbers(c.conv_dim[i], c.conv_kernel[i], c.conv_stride[i]);
    const auto tensor = [&](const Tensor& t) {
        if (t.defined()) f.add(t);
    };
    const auto norm = [&](const Norm& n) {
        tensor(n.weight);
        tensor(n.bias);
    };
    const auto affine = [&](const Affine& a) {
        if (a.packed.defined()) f.add(a.packed);
        tensor(a.weight);
        tensor(a.bias);
    };
    const auto conv = [&](const Conv& v) {
        if (v.packed.weight.defined()) f.add(v.packed);
        tensor(v.weight);
        tensor(v.bias);
        norm(v.norm);
    };
    for (const Conv& v : convs_) conv(v);
    norm(features_norm_);
    affine(projection_);
    conv(positions_);
    norm(encoder_norm_);
    tensor(distance_table_);
    for (const Layer& l : layers_) {
        for (const Affine* a : {&l.qkv, &l.q, &l.k, &l.v, &l.out, &l.gate, &l.up, &l.down}) affine(*a);
        tensor(l.gate_constant);
        norm(l.attention_norm);
        norm(l.final_norm);
    }
    return f.hex();
}

}  // namespace wavllm
