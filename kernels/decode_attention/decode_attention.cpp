#include "kernels/decode_attention/decode_attention.h"

#include <limits>
#include <tuple>

#include "kernels/attention/tile.h"
#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/decode_attention/decode_attention_body.h"
#include "kernels/decode_attention/decode_attention_f64.h"
#include "tensor/graph.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

using namespace attention_tile;

namespace {

constexpr int64_t kChunk = 128;  // keys

/// The keys or the values of one chunk of one request: row j of kv head g at p + j * key + g * head.
struct Rows {
    const float* p;
    int64_t key, head, count;

    Rows(const Tensor& cache, int64_t request, int64_t first, int64_t n)
        : p(cache.data<float>() + request * cache.stride(0) + first * cache.stride(1)),
          key(cache.stride(1)),
          head(cache.stride(2)),
          count(n) {}
};

/// Lane i: the sum of the lanes of v[i], as one tree for all.
WAVLLM_INLINE vf sums_of(vf (&v)[kLanes]) {
    // Each step pairs vector i with vector i + step: both, folded to half their length, then share one.
    const auto fold8 = [](vf a, vf b) {
        return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
               __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    };
    const auto fold4 = [](vf a, vf b) {
        return __builtin_shufflevector(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
               __builtin_shufflevector(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    };
    const auto fold2 = [](vf a, vf b) {
        return __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
               __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    };
    const auto fold1 = [](vf a, vf b) {
        return __builtin_shufflevector(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
               __builtin_shufflevector(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
    };
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) v[i] = fold8(v[i], v[i + 8]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) v[i] = fold4(v[i], v[i + 4]);
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) v[i] = fold2(v[i], v[i + 2]);
    return fold1(v[0], v[1]);
}

/// Calls f(integral_constant<V>) with V vectors in a head of the usual sizes, whose loops then unroll into registers,
/// else with 0. The order of every sum is the same.
template <class F>
void with_vectors(int64_t dh, F&& f) {
    switch (dh) {
        case 32: return f(std::integral_constant<int, 2>{});
        case 64: return f(std::integral_constant<int, 4>{});
        case 128: return f(std::integral_constant<int, 8>{});
        default: return f(std::integral_constant<int, 0>{});
    }
}

/// The lanes of q . k, summed over the vectors of a head one after the other.
template <int V>
WAVLLM_INLINE vf dot_lanes(const float* q, const float* k, int64_t dh) {
    vf acc{};
    if constexpr (V > 0) {
#pragma GCC unroll 8
        for (int d = 0; d < V; ++d) acc = fma(load(q + d * kLanes), load(k + d * kLanes), acc);
    } else {
        for_lanes(dh, [&](int64_t d, auto n) { acc = fma(load(q + d), load(k + d, n), acc); });
    }
    return acc;
}

/// scores[h, j] = q_h . k_j for heads [first, end) of one kv head. q: [heads, padded], zeros behind dh; scores:
/// [heads, kChunk]. 16 keys stay in L1 while the heads pass by.
template <int V>
void dot_products(const float* q, const Rows& k, int64_t kv_head, int64_t first, int64_t end, int64_t dh,
                  int64_t padded, float* scores) {
    for (int64_t j = 0; j < k.count; j += kLanes) {
        const int64_t keys = std::min<int64_t>(kLanes, k.count - j);
        const float* rows = k.p + j * k.key + kv_head * k.head;
        for (int64_t h = first; h < end; ++h) {
            vf partial[kLanes];
            if (keys == kLanes) {
                for (int64_t i = 0; i < kLanes; ++i) partial[i] = dot_lanes<V>(q + h * padded, rows + i * k.key, dh);
            } else {
                for (int64_t i = 0; i < kLanes; ++i)
                    partial[i] = i < keys ? dot_lanes<V>(q + h * padded, rows + i * k.key, dh) : vf{};
            }
            store(scores + h * kChunk + j, sums_of(partial));
        }
    }
}

/// Scores of n keys to 2^(score - maximum), zeros behind n; returns {maximum, sum}.
std::pair<float, float> exponentiate(float* scores, int64_t n) {
    const vf none = broadcast(-std::numeric_limits<float>::infinity());
    vf top = none, total{};
    for (int64_t j = 0; j < n; j += kLanes) top = vmax(first_lanes(load(scores + j), n - j, none), top);
    const float maximum = max_lane(top);
    for (int64_t j = 0; j < n; j += kLanes) {
        const vf p = first_lanes(exp2(load(scores + j) - broadcast(maximum)), n - j, vf{});
        store(scores + j, p);
        total = total + p;
    }
    return {maximum, sum(total)};
}

/// y[h, :] = sum over j of p[h, j] v_j, one key after the other, for heads [first, end) of one kv head.
template <int V>
void weighted_sums(const float* p, const Rows& v, int64_t kv_head, int64_t first, int64_t end, int64_t dh,
                   int64_t padded, float* y) {
    const float* rows = v.p + kv_head * v.head;
    for (int64_t h = first; h < end; ++h) {
        const float* weights = p + h * kChunk;
        if constexpr (V > 0) {
            vf sums[V] = {};
            for (int64_t j = 0; j < v.count; ++j) {
                const vf w = broadcast(weights[j]);
#pragma GCC unroll 8
                for (int d = 0; d < V; ++d) sums[d] = fma(w, load(rows + j * v.key + d * kLanes), sums[d]);
            }
            for (int d = 0; d < V; ++d) store(y + h * padded + d * kLanes, sums[d]);
        } else {
            for_lanes(dh, [&](int64_t d, auto n) {
                vf sums{};
                for (int64_t j = 0; j < v.count; ++j)
                    sums = fma(broadcast(weights[j]), load(rows + j * v.key + d, n), sums);
                store(y + h * padded + d, sums);
            });
        }
    }
}

/// One chunk of one request, heads [first, end) of one kv head. y: [heads, padded]; statistics: maximum and sum of each
/// head.
void attend_chunk(const float* q, const Rows& k, const Rows& v, int64_t kv_head, int64_t first, int64_t end, int64_t dh,
                  int64_t padded, float* scores, float* y, float* statistics) {
    with_vectors(dh, [&](auto vectors) {
        dot_products<vectors()>(q, k, kv_head, first, end, dh, padded, scores);
        for (int64_t h = first; h < end; ++h)
            std::tie(statistics[2 * h], statistics[2 * h + 1]) = exponentiate(scores + h * kChunk, k.count);
        weighted_sums<vectors()>(scores, v, kv_head, first, end, dh, padded, y);
    });
}

void check(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& lengths) {
    const auto inner = [&](const char* argument, const Tensor& t, int rank) {
        if (!t.defined() || t.rank() != rank || (t.dim(rank - 1) > 1 && t.stride(rank - 1) != 1))
            throw ShapeError("decode_attention: {} must have {} dimensions, the last contiguous, but is {}", argument,
                             rank, t.defined() ? t.describe() : "an undefined tensor");
        if (t.dtype() != DType::f32)
            throw DTypeError("decode_attention: {} must be f32, but is {}", argument, t.describe());
        if (t.device() != q.device())
            throw Error("decode_attention: {} is {}, but must be on {} as q; see Tensor::to", argument, t.describe(),
                        name(q.device()));
    };
    inner("q", q, 3);
    inner("k_cache", k, 4);
    inner("v_cache", v, 4);
    if (!(k.shape() == v.shape()) || k.dim(0) != q.dim(0) || k.dim(3) != q.dim(2) || k.dim(2) < 1 ||
        q.dim(1) % k.dim(2) != 0 || q.dim(2) < 1 || q.dim(2) > kMaxHead)
        throw ShapeError(
            "decode_attention: q is {}, k_cache {}, v_cache {}; expected [B, H, Dh] and twice "
            "[B, capacity, Hkv, Dh] with Hkv dividing H and Dh from 1 to {}",
            q.describe(), k.describe(), v.describe(), kMaxHead);
    if (q.device() != Device::cpu && lengths.device() == q.device())
        return expect("decode_attention", "lengths", lengths, {q.dim(0)}, DType::i64, q.device());
    expect("decode_attention", "lengths", lengths, {q.dim(0)}, DType::i64);
    if (q.device() != Device::cpu) expect_no_capture("decode_attention with lengths on the CPU");
    for (int64_t b = 0; b < q.dim(0); ++b)
        if (const int64_t n = lengths.data<int64_t>()[b]; n < 0 || n > k.dim(1))
            throw ShapeError("decode_attention: request {} has length {}, but the cache holds 0 to {} keys", b, n,
                             k.dim(1));
}

Tensor on_device(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& lengths, float scale) {
    const Device device = q.device();
    const int64_t requests = q.dim(0), heads = q.dim(1), dh = q.dim(2);
    Tensor y = Tensor::empty({requests, heads * dh}, DType::f32, device);
    if (y.numel() == 0) return y;
    int64_t longest = 0;
    if (lengths.device() == device)
        longest = k.dim(1);
    else
        for (int64_t b = 0; b < requests; ++b) longest = std::max(longest, lengths.data<int64_t>()[b]);
    const int64_t chunks = round_up(longest, kDecodeChunk) / kDecodeChunk;
    Tensor partial = workspace({requests, chunks, heads, dh}, device),
           statistics = workspace({requests, chunks, heads, 2}, device);
    on(decode_attention_body, device)({.q = q.device_data<float>(),
                                       .k = k.device_data<float>(),
                                       .v = v.device_data<float>(),
                                       .q_request = q.stride(0),
                                       .q_head = q.stride(1),
                                       .k_request = k.stride(0),
                                       .k_key = k.stride(1),
                                       .k_head = k.stride(2),
                                       .v_request = v.stride(0),
                                       .v_key = v.stride(1),
                                       .v_head = v.stride(2),
                                       .lengths = lengths.mirror(device).device_data<int64_t>(),
                                       .requests = requests,
                                       .heads = heads,
                                       .kv_heads = k.dim(2),
                                       .longest = longest,
                                       .dh = static_cast<int>(dh),
                                       .scale = scale},
                                      partial.mutable_device_data<float>(), statistics.mutable_device_data<float>(),
                                      y.mutable_device_data<float>());
    return y;
}

}  // namespace

Tensor decode_attention(const Tensor& q, const Tensor& k_cache, const Tensor& v_cache, const Tensor& lengths,
                        double scale) {
    if (f64::runs(q)) return f64::decode_attention(q, k_cache, v_cache, lengths, scale);
    check(q, k_cache, v_cache, lengths);
    if (q.device() != Device::cpu) return on_device(q, k_cache, v_cache, lengths, static_cast<float>(scale));
    const int64_t requests = q.dim(0), heads = q.dim(1), dh = q.dim(2), padded = round_up(dh, kLanes),
                  group = heads / k_cache.dim(2);
    const int64_t* n = lengths.data<int64_t>();
    int64_t longest = 0;
    for (int64_t b = 0; b < requests; ++b) longest = std::max(longest, n[b]);
    const int64_t chunks = round_up(longest, kChunk) / kChunk;
    Tensor scaled_q = workspace({requests, heads, padded}), scores = workspace({requests, chunks, heads, kChunk});
    // Per request, chunk and head: the weighted sum of the values; the maximum and the sum of the weights.
    Tensor partial = workspace({requests, chunks, heads, padded}), statistics = workspace({requests, chunks, heads, 2});
    float *pq = scaled_q.mutable_data<float>(), *pscores = scores.mutable_data<float>();
    float *pp = partial.mutable_data<float>(), *ps = statistics.mutable_data<float>();
    for (int64_t b = 0; b < requests; ++b)
        pack_rows({q.data<float>() + b * q.stride(0), q.stride(1)}, heads, heads, dh, padded,
                  static_cast<float>(scale) * kLog2E, pq + b * heads * padded);
    // An item is a chunk and a kv head; short chunks go to one thread together.
    const int64_t kv_heads = heads / group, each = longest <= kChunk / 2 ? kv_heads : 1;
    parallel_for(requests * chunks * kv_heads, each, [&](int64_t begin, int64_t end) {
        for (int64_t item = begin; item < end; ++item) {
            const int64_t part = item / kv_heads, head = item % kv_heads;
            const int64_t b = part / chunks, first = part % chunks * kChunk, keys = std::min(kChunk, n[b] - first);
            if (keys <= 0) continue;
            attend_chunk(pq + b * heads * padded, Rows(k_cache, b, first, keys), Rows(v_cache, b, first, keys), head,
                         head * group, (head + 1) * group, dh, padded, pscores + part * heads * kChunk,
                         pp + part * heads * padded, ps + part * heads * 2);
        }
    });
    Tensor result = Tensor::empty({requests, heads * dh});
    float* py = result.mutable_data<float>();
    parallel_for(requests * heads, row_chunk((chunks + 1) * padded), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
            const int64_t b = row / heads, used = round_up(n[b], kChunk) / kChunk;
            const auto at = [&](int64_t c) { return (b * chunks + c) * heads + row % heads; };
            float maximum = -std::numeric_limits<float>::infinity(), total = 0;
            for (int64_t c = 0; c < used; ++c) maximum = std::max(maximum, ps[2 * at(c)]);
            alignas(64) float sums[kMaxHead] = {};
            for (int64_t c = 0; c < used; ++c) {
                const vf factor = exp2(broadcast(ps[2 * at(c)] - maximum));
                total = std::fma(factor[0], ps[2 * at(c) + 1], total);
                for (int64_t d = 0; d < padded; d += kLanes)
                    store(sums + d, fma(factor, load(pp + at(c) * padded + d), load(sums + d)));
            }
            const vf inverse = broadcast(used ? 1.0f / total : 0.0f);
            for_lanes(dh, [&](int64_t d, auto lanes) { store(py + row * dh + d, load(sums + d) * inverse, lanes); });
        }
    });
    return result;
}

}  // namespace wavllm::kernels
