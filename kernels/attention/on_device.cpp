#include "kernels/attention/on_device.h"

#include <algorithm>

#include "kernels/common/check.h"
#include "kernels/common/on_device.h"

namespace wavllm::kernels::detail {

namespace {

DeviceHeads heads_of(const Tensor& t) {
    return {t.device_data<float>(), t.stride(0), t.stride(1)};
}

}  // namespace

DeviceAttention describe_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                                   const AttentionSizes& z) {
    DeviceAttention a{.q = heads_of(q),
                      .k = heads_of(k),
                      .v = heads_of(v),
                      .q_borders = layout.q_borders.mirror(q.device()).device_data<int64_t>(),
                      .k_borders = layout.k_borders.mirror(q.device()).device_data<int64_t>(),
                      .sequences = z.sequences(),
                      .heads = z.heads,
                      .kv_heads = z.kv_heads,
                      .longest_q = 0,
                      .longest_k = 0,
                      .dh = static_cast<int>(z.dh),
                      .causal = z.causal,
                      .scale = static_cast<float>(layout.scale)};
    for (int64_t s = 0; s < z.sequences(); ++s) {
        a.longest_q = std::max(a.longest_q, z.queries(s));
        a.longest_k = std::max(a.longest_k, z.keys(s));
    }
    return a;
}

namespace {

/// Room for heads rounded to bf16.
struct Packed {
    Packed(const DeviceAttention& a, int64_t q_rows, int64_t k_rows, bool backward, Device device) {
        const auto room = [&](int64_t rows, int64_t count) {
            PurposeScope scope(Purpose::workspace);
            return Tensor::empty({rows, count, packed_head_width(a.dh)}, DType::bf16, device);
        };
        q = room(q_rows, a.heads);
        k = room(k_rows, a.kv_heads);
        v = room(k_rows, a.kv_heads);
        if (backward) dy = room(q_rows, a.heads);
        heads = {q.mutable_device_raw(),
                 k.mutable_device_raw(),
                 v.mutable_device_raw(),
                 backward ? dy.mutable_device_raw() : nullptr,
                 q_rows,
                 k_rows};
    }

    Tensor q, k, v, dy;
    PackedHeads heads{};
};

/// Puts a bias into the description. Its rows by distance are turned: a tile of scores reads neighbouring distances of one
/// head. Returns what must live as long as the call.
Tensor describe_bias(DeviceAttention& a, const AttentionBias& bias) {
    if (!bias.defined()) return {};
    PurposeScope scope(Purpose::workspace);
    Tensor by_head = bias.by_distance.detach().transpose(0, 1).to_contiguous();
    a.gate = bias.gate.device_data<float>();
    a.by_distance = by_head.device_data<float>();
    a.reach = bias.by_distance.dim(0) / 2;
    return by_head;
}

}  // namespace

AttentionForward attention_on_device(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                                     const AttentionBias& bias, const AttentionSizes& z) {
    const Device device = q.device();
    AttentionForward result{Tensor::empty({q.dim(0), z.heads * z.dh}, DType::f32, device),
                            Tensor::empty({q.dim(0), z.heads}, DType::f32, device)};
    if (q.dim(0) == 0) return result;
    DeviceAttention a = describe_attention(q, k, v, layout, z);
    const Tensor by_head = describe_bias(a, bias);
    auto* y = result.y.mutable_device_data<float>();
    auto* log_sum_exp = result.log_sum_exp.mutable_device_data<float>();
    if (layout.products == DType::bf16) {
        const Packed packed(a, q.dim(0), k.dim(0), false, device);
        on(attention_bf16_body, device)(a, packed.heads, y, log_sum_exp);
    } else {
        on(attention_body, device)(a, y, log_sum_exp);
    }
    return result;
}

AttentionGradients attention_backward_on_device(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                                                const AttentionForward& forward, const AttentionLayout& layout,
                                                const AttentionWants& wants, const AttentionBias& bias,
                                                const AttentionSizes& z) {
    const Device device = q.device();
    AttentionGradients result;
    DeviceAttentionGradients g{.dy = dy.device_data<float>(),
                               .y = forward.y.device_data<float>(),
                               .log_sum_exp = forward.log_sum_exp.device_data<float>(),
                               .q_rows = q.dim(0)};
    Tensor delta = workspace({q.dim(0), z.heads}, device);
    g.delta = delta.mutable_device_data<float>();
    if (wants.dq) g.dq = (result.dq = Tensor::empty(q.shape(), DType::f32, device)).mutable_device_data<float>();
    if (wants.dkv) {
        g.dk = (result.dk = Tensor::empty(k.shape(), DType::f32, device)).mutable_device_data<float>();
        g.dv = (result.dv = Tensor::empty(v.shape(), DType::f32, device)).mutable_device_data<float>();
    }
    DeviceAttention a = describe_attention(q, k, v, layout, z);
    const Tensor by_head = describe_bias(a, bias);
    if (wants.dgate)
        g.dgate = (result.dgate = Tensor::empty(bias.gate.shape(), DType::f32, device)).mutable_device_data<float>();
    Tensor parts;
    if (wants.dby_distance) {
        const int64_t rows = attention_dq_rows(z.dh), tiles = (a.longest_q + rows - 1) / rows;
        parts = workspace({z.sequences(), z.heads, tiles, 2 * a.reach + 1}, device);
        g.parts = parts.mutable_device_data<float>();
        g.dby_distance = wants.dby_distance->mutable_device_data<float>();
    }
    if (layout.products == DType::bf16) {
        const Packed packed(a, q.dim(0), k.dim(0), true, device);
        on(attention_backward_bf16_body, device)(a, packed.heads, g);
    } else {
        on(attention_backward_body, device)(a, g);
    }
    return result;
}

}  // namespace wavllm::kernels::detail
