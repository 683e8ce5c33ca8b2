#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/common/op_case.h"
#include "kernels/decode_attention/decode_attention.h"

namespace wavllm {

namespace {

Tensor lengths_of(const Params& p, Device device) {
    const std::vector<int64_t>& lengths = p.list("lengths");
    const Tensor held = Tensor::from(lengths, {static_cast<int64_t>(lengths.size())});
    return p.flag("lengths there") ? held.to(device) : held;
}

/// By the definition; keys behind a request's length are never read.
Array64 reference(Inputs64 in, const Params& p) {
    const Array64 &q = in[0], &k = in[1], &v = in[2];
    const int64_t heads = q.shape[1], dh = q.shape[2], capacity = k.shape[1], kv_heads = k.shape[2];
    Array64 y(Shape{q.shape[0], heads * dh});
    for (int64_t b = 0; b < q.shape[0]; ++b)
        for (int64_t h = 0; h < heads; ++h) {
            const int64_t n = p.list("lengths")[static_cast<size_t>(b)], at = (b * heads + h) * dh;
            const auto key = [&](int64_t j) { return ((b * capacity + j) * kv_heads + h / (heads / kv_heads)) * dh; };
            std::vector<double> s(static_cast<size_t>(n));
            double top = -INFINITY, total = 0;
            for (int64_t j = 0; j < n; ++j) {
                double& sj = s[static_cast<size_t>(j)];
                for (int64_t d = 0; d < dh; ++d) sj += p.number("scale") * q[at + d] * k[key(j) + d];
                top = std::max(top, sj);
            }
            for (double& sj : s) total += sj = std::exp(sj - top);
            for (int64_t j = 0; j < n; ++j)
                for (int64_t d = 0; d < dh; ++d) y[at + d] += s[static_cast<size_t>(j)] / total * v[key(j) + d];
        }
    return y;
}

}  // namespace

OP_CASES(decode_attention) {
    op.has_gradient = false;
    op.forward = [](Inputs in, const Params& p) {
        return kernels::decode_attention(in[0], in[1], in[2], lengths_of(p, in[0].device()), p.number("scale"));
    };
    op.reference = reference;

    const auto one = [&](const char* name, const std::vector<int64_t>& lengths, int64_t capacity, int64_t heads,
                         int64_t kv_heads, int64_t dh, bool bench = false, bool there = false) {
        const auto requests = static_cast<int64_t>(lengths.size());
        const double keys = static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), int64_t{0}));
        Params params{{"scale", 1 / std::sqrt(static_cast<double>(dh))}};
        if (there) params = {{"scale", 1 / std::sqrt(static_cast<double>(dh))}, {"lengths there", 1}};
        params.list("lengths", lengths);
        op.add({.name = name,
                .inputs = {random({requests, heads, dh}), random({requests, capacity, kv_heads, dh}),
                           random({requests, capacity, kv_heads, dh})},
                .params = params,
                .bytes = 8 * keys * static_cast<double>(kv_heads * dh),
                .flops = 4 * keys * static_cast<double>(heads * dh),
                .bench = bench});
    };
    one("one key", {1}, 4, 1, 1, 8);
    one("head dimension 8, lengths around a vector", {15, 16, 17, 0}, 20, 3, 3, 8);
    one("head dimension 12, grouped", {5, 33}, 40, 6, 2, 12);
    one("head dimension 64, three queries a key", {127, 128, 257}, 300, 9, 3, 64);
    one("head dimension 128, five queries a key", {40}, 40, 5, 1, 128);
    one("head dimension 40", {30}, 32, 2, 1, 40);
    one("several chunks", {1000, 3, 513}, 1000, 2, 1, 32);
    one("several chunks, lengths on the device", {1000, 3, 513, 0}, 1000, 4, 2, 32, false, true);
    one("smollm2, 1 x 512", {512}, 1024, 9, 3, 64, true);
    one("7b, 8 x 1024", std::vector<int64_t>(8, 1024), 1024, 32, 32, 128, true);
}

}  // namespace wavllm
