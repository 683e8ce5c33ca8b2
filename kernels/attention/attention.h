#pragma once
#include <algorithm>
#include <span>

#include "tensor/tensor.h"

namespace wavllm {

enum class AttentionMask : uint8_t {
    full,    ///< every query sees every key of its sequence
    causal,  ///< query i of Tq sees keys 0 .. i + Tk - Tq: the last query sees the last key
};

/// Which rows belong to which sequence, and what they see. Borders: see borders_of() in kernels/common/check.h; both
/// have one element more than there are sequences. They may be the same tensor.
struct AttentionLayout {
    Tensor q_borders, k_borders;
    AttentionMask mask = AttentionMask::full;
    double scale = 1;  ///< rounded to f32 unless q, k and v are f64
    /// f32, or bf16: the factors of all products, backward too, are rounded to it, everything else stays f32.
    DType products = DType::f32;
};

/// An additive bias of the scores by relative position, with a gate of its own for every query and head (WavLM, Chen et al.
/// 2022, section III-A):
///     s_ij += gate[i, h] * by_distance[R + clamp(j - i, -R, R), h]
/// with i and j counted from the beginning of their sequence. Never whole in memory. Both defined, or neither.
struct AttentionBias {
    Tensor gate;         ///< [Tq, H] f32
    Tensor by_distance;  ///< [2 R + 1, H] f32

    bool defined() const {
        return gate.defined() || by_distance.defined();
    }
};

namespace kernels {

struct AttentionForward {
    Tensor y;            ///< [Tq, H*Dh] f32
    Tensor log_sum_exp;  ///< [Tq, H] f32: log2 of sum over j of e^s_j, -inf if the row sees no key
};

/// For every query row i and head h of a sequence, with kv head g = h / (H / Hkv):
///     s_j = scale * q[i,h,:] . k[j,g,:] (+ bias)        p = softmax(s) over the keys that i sees
///     y[i, h*Dh:(h+1)*Dh] = sum over j of p_j v[j,g,:]
/// Vaswani et al. 2017, eq. 1, for many sequences of any lengths in one call; computed block by block with a running
/// maximum (Milakov & Gimelshein 2018; Dao et al. 2022), so memory is linear in T.
/// q: [Tq, H, Dh], k, v: [Tk, Hkv, Dh] f32, H a multiple of Hkv, Dh <= 256. Rows and heads may be strided (views of a
/// fused projection), Dh must be contiguous. A row that sees no key gives zeros.
/// q, k, v and the result are on one device, borders on the CPU.
/// A row's bits depend on its own query and on the keys and values that it sees, on nothing else.
/// Throws ShapeError for shapes or borders that do not fit, DTypeError for anything but f32, or f64 for all of them
/// (attention_f64.h), and for products in bf16 with a bias.
AttentionForward attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionLayout& layout,
                           const AttentionBias& bias = {});

struct AttentionGradients {
    Tensor dq, dk, dv;  ///< contiguous, shaped like q, k, v; undefined where not wanted
    Tensor dgate;       ///< like gate
};

/// Which gradients are wanted. dk and dv come together.
struct AttentionWants {
    bool dq = true, dkv = true, dgate = false;
    Tensor* dby_distance = nullptr;  ///< added to
};

/// Recomputes p from the log-sum-exp. With delta_i = dy_i . y_i and ds_ij = p_ij (dy_i . v_j - delta_i):
///     dv_j = sum_i p_ij dy_i     dq_i = scale sum_j ds_ij k_j     dk_j = scale sum_i ds_ij q_i
///     dgate_i = sum_j ds_ij by_distance[j - i]     dby_distance[d] += sum over j - i = d of gate_i ds_ij
/// dy, y: [Tq, H*Dh] contiguous. Sums run over keys in order, and over queries in order within one head; the heads that
/// share a kv head are added in order. dby_distance is summed in each sequence, then over sequences in order. Memory linear in
/// T.
AttentionGradients attention_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                                      const AttentionForward& forward, const AttentionLayout& layout,
                                      const AttentionWants& wants = {}, const AttentionBias& bias = {});

namespace detail {

/// The checked sizes of a call, and its sequences.
struct AttentionSizes {
    int64_t heads, kv_heads, dh, padded;  // padded: dh rounded up to whole vectors
    std::span<const int64_t> q_borders, k_borders;
    bool causal;

    int64_t sequences() const {
        return static_cast<int64_t>(q_borders.size()) - 1;
    }
    int64_t kv_head(int64_t head) const {
        return head / (heads / kv_heads);
    }
    int64_t q_begin(int64_t s) const {
        return q_borders[static_cast<size_t>(s)];
    }
    int64_t k_begin(int64_t s) const {
        return k_borders[static_cast<size_t>(s)];
    }
    int64_t queries(int64_t s) const {
        return q_begin(s + 1) - q_begin(s);
    }
    int64_t keys(int64_t s) const {
        return k_begin(s + 1) - k_begin(s);
    }
    /// How many keys, from the first, row i of sequence s sees.
    int64_t visible(int64_t s, int64_t i) const {
        const int64_t n = keys(s);
        return causal ? std::max<int64_t>(0, std::min(n, i + 1 + n - queries(s))) : n;
    }
};

AttentionSizes attention_sizes(std::string_view op, const Tensor& q, const Tensor& k, const Tensor& v,
                               const AttentionLayout& layout);
/// Throws unless the bias is absent or fits.
void check_attention_bias(std::string_view op, const AttentionBias& bias, const Tensor& q,
                          const AttentionLayout& layout);

}  // namespace detail

}  // namespace kernels

}  // namespace wavllm
