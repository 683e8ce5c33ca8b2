#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/attention/attention.h"
#include "kernels/common/check.h"
#include "kernels/common/op_case.h"

namespace wavllm {

namespace {

AttentionLayout layout_of(const Params& p) {
    return {kernels::make_borders(p.list("q_lengths")), kernels::make_borders(p.list("k_lengths")),
            p.flag("causal") ? AttentionMask::causal : AttentionMask::full, p.number("scale"),
            p.flag("bf16") ? DType::bf16 : DType::f32};
}

AttentionBias bias_of(Inputs in) {
    return in.size() > 3 ? AttentionBias{in[3], in[4]} : AttentionBias{};
}

/// What the bias adds to the score of every key, by the definition.
std::vector<double> bias_row(Inputs64 in, int64_t row, int64_t head, int64_t i, int64_t keys) {
    std::vector<double> bias(static_cast<size_t>(keys));
    if (in.size() < 4) return bias;
    const int64_t heads = in[3].shape[1], reach = in[4].shape[0] / 2;
    for (int64_t j = 0; j < keys; ++j)
        bias[static_cast<size_t>(j)] =
            in[3][row * heads + head] * in[4][(reach + std::clamp(j - i, -reach, reach)) * heads + head];
    return bias;
}

/// One row of one head, by the definition: all scores, softmax, weighted sum.
void attend_row(const double* q, const Array64& k, const Array64& v, int64_t first_key, int64_t visible,
                int64_t kv_head, double scale, std::vector<double> s, double* y) {
    const int64_t kv_heads = k.shape[1], dh = k.shape[2];
    for (int64_t j = 0; j < visible; ++j) {
        for (int64_t d = 0; d < dh; ++d)
            s[static_cast<size_t>(j)] += scale * q[d] * k[((first_key + j) * kv_heads + kv_head) * dh + d];
    }
    double top = -INFINITY, total = 0;
    for (double x : s) top = std::max(top, x);
    for (double& x : s) total += x = std::exp(x - top);
    for (int64_t j = 0; j < visible; ++j)
        for (int64_t d = 0; d < dh; ++d)
            y[d] += s[static_cast<size_t>(j)] / total * v[((first_key + j) * kv_heads + kv_head) * dh + d];
}

Array64 reference(Inputs64 in, const Params& p) {
    const Array64 &q = in[0], &k = in[1], &v = in[2];
    const int64_t heads = q.shape[1], dh = q.shape[2], group = heads / k.shape[1];
    Array64 y(Shape{q.shape[0], heads * dh});
    int64_t first_query = 0, first_key = 0;
    for (size_t s = 0; s < p.list("q_lengths").size(); ++s) {
        const int64_t queries = p.list("q_lengths")[s], keys = p.list("k_lengths")[s];
        for (int64_t i = 0; i < queries; ++i) {
            const int64_t visible = p.flag("causal") ? std::clamp<int64_t>(i + 1 + keys - queries, 0, keys) : keys;
            for (int64_t h = 0; h < heads; ++h) {
                const auto at = static_cast<size_t>(((first_query + i) * heads + h) * dh);
                attend_row(&q.v[at], k, v, first_key, visible, h / group, p.number("scale"),
                           bias_row(in, first_query + i, h, i, visible), &y.v[at]);
            }
        }
        first_query += queries;
        first_key += keys;
    }
    return y;
}

struct Sizes {
    std::vector<int64_t> q_lengths, k_lengths;
    int64_t heads, kv_heads, dh;
    bool causal = false, bench = false;
    double size = 1;  // of q and k
    bool bf16 = false;
    int64_t reach = -1;  // of a bias; -1: there is none
};

OpCase make_case(const char* name, const Sizes& z) {
    const int64_t tq = std::accumulate(z.q_lengths.begin(), z.q_lengths.end(), int64_t{0}),
                  tk = std::accumulate(z.k_lengths.begin(), z.k_lengths.end(), int64_t{0});
    const double dh = static_cast<double>(z.dh);
    Params params{{"causal", z.causal}, {"scale", 1 / std::sqrt(dh)}, {"bf16", z.bf16}};
    params.list("q_lengths", z.q_lengths).list("k_lengths", z.k_lengths);
    double pairs = 0;
    for (size_t s = 0; s < z.q_lengths.size(); ++s)
        for (int64_t i = 0; i < z.q_lengths[s]; ++i)
            pairs += static_cast<double>(
                z.causal ? std::clamp<int64_t>(i + 1 + z.k_lengths[s] - z.q_lengths[s], 0, z.k_lengths[s])
                         : z.k_lengths[s]);
    OpCase c{.name = name,
             .inputs = {random({tq, z.heads, z.dh}, z.size), random({tk, z.kv_heads, z.dh}, z.size),
                        random({tk, z.kv_heads, z.dh})},
             .params = params,
             .bytes = 4 * dh * static_cast<double>(2 * tq * z.heads + 2 * tk * z.kv_heads),
             .flops = 4 * dh * static_cast<double>(z.heads) * pairs,
             .bench = z.bench};
    if (z.reach >= 0) {
        c.inputs.push_back(random({tq, z.heads}, 0.5, 2));  // WavLM's gates lie around 2
        c.inputs.push_back(random({2 * z.reach + 1, z.heads}));
        c.bytes += 4.0 * static_cast<double>(c.inputs[3].numel() + c.inputs[4].numel());
        c.flops += 2 * static_cast<double>(z.heads) * pairs;
    }
    return c;
}

}  // namespace

OP_CASES(attention) {
    op.forward = [](Inputs in, const Params& p) {
        return kernels::attention(in[0], in[1], in[2], layout_of(p), bias_of(in)).y;
    };
    op.reference = reference;
    const auto one = [&](const char* name, const Sizes& sizes) { op.add(make_case(name, sizes)); };
    one("one query, one key", {{1}, {1}, 1, 1, 8});
    op.cases.back().differentiable = {false, false, true};  // softmax of one score is constant
    one("head dimension 8", {{5}, {5}, 3, 3, 8});
    one("head dimension 12, causal", {{7}, {7}, 2, 2, 12, true});
    one("head dimension 16, grouped", {{9}, {9}, 4, 2, 16});
    one("head dimension 3", {{6}, {6}, 2, 1, 3, true});
    one("head dimension 80, two column tiles", {{5}, {7}, 2, 2, 80});
    one("head dimension 256", {{3}, {4}, 1, 1, 256, true});
    one("several tiles and blocks", {{101}, {131}, 2, 1, 32});
    one("several tiles and blocks, causal", {{110}, {110}, 2, 2, 64, true});
    one("exact tiles", {{48, 96}, {96, 48}, 1, 1, 16});
    one("ragged, empty and single sequences", {{3, 0, 1, 50, 2}, {3, 0, 1, 50, 2}, 6, 2, 8, true});
    one("cross attention, ragged, no keys or no queries", {{4, 2, 0, 7}, {60, 0, 5, 1}, 2, 2, 12});
    one("causal, fewer queries than keys", {{1, 5, 30}, {9, 60, 97}, 2, 1, 16, true});
    one("causal, more queries than keys", {{9, 60}, {4, 50}, 2, 1, 8, true});
    one("large scores, one key decides", {{20}, {70}, 2, 2, 32, false, false, 4});
    op.cases.back().tolerance = op.cases.back().gradient_tolerance = 1e-4;  // rounding of scores of about 100
    const auto in_bf16 = [&](const char* name, Sizes sizes) {
        sizes.bf16 = true;
        one(name, sizes);
        OpCase& c = op.cases.back();
        for (Tensor& t : c.inputs) t = t.to(DType::bf16).to(DType::f32);
        // q times the scale, and p, are rounded by at most 2^-9 of themselves. A score of these inputs is then off by
        // less than 2^-9 * 4 (four deviations of q.k), p by that part of itself, y by that part of sum p |v|: with the
        // rounding of p, 5 * 2^-9 of what is at most about the largest |y|. In the gradients dy and ds are rounded too,
        // and ds is p times a difference, dy.v - delta, about a third of its parts: three times as much.
        c.tolerance = 5 * 0x1p-9;
        c.gradient_tolerance = 15 * 0x1p-9;
    };
    in_bf16("bf16, one query, one key", {{1}, {1}, 1, 1, 8});
    op.cases.back().differentiable = {false, false, true};
    in_bf16("bf16, head dimension 3, causal", {{6}, {6}, 2, 1, 3, true});
    in_bf16("bf16, head dimension 80", {{5}, {7}, 2, 2, 80});
    in_bf16("bf16, head dimension 256", {{3}, {4}, 1, 1, 256, true});
    in_bf16("bf16, several tiles and blocks", {{101}, {531}, 2, 1, 32});
    in_bf16("bf16, several tiles and blocks, causal", {{300}, {300}, 2, 1, 16, true});
    in_bf16("bf16, ragged, empty and single sequences", {{3, 0, 1, 50, 2}, {3, 0, 1, 50, 2}, 6, 2, 8, true});
    in_bf16("bf16, cross attention, no keys or no queries", {{4, 2, 0, 7}, {60, 0, 5, 1}, 2, 2, 12});
    in_bf16("bf16, causal, more queries than keys", {{9, 60}, {4, 50}, 2, 1, 8, true});
    in_bf16("bf16, whisper-base encoder", {{1500}, {1500}, 8, 8, 64, false, true});
    in_bf16("bf16, smollm2, 4 x 160, causal", {{160, 160, 160, 160}, {160, 160, 160, 160}, 9, 3, 64, true, true});
    const auto biased = [&](const char* name, Sizes sizes, int64_t reach) {
        sizes.reach = reach;
        one(name, sizes);
    };
    biased("bias, one query, one key", {{1}, {1}, 1, 1, 8}, 3);
    op.cases.back().differentiable = {false, false, true, false, false};
    biased("bias, reach 0: the same for all keys", {{5}, {9}, 2, 2, 8}, 0);
    op.cases.back().differentiable = {true, true, true, false, false};  // a shift of all scores changes nothing
    biased("bias, wider than the sequence", {{7}, {7}, 3, 3, 12}, 20);
    biased("bias, several tiles and blocks, beyond the reach on both sides", {{150}, {150}, 2, 2, 16}, 30);
    biased("bias, ragged, empty and single sequences, grouped", {{3, 0, 1, 70, 2}, {3, 0, 1, 70, 2}, 4, 2, 8}, 5);
    biased("bias, cross attention, no keys or no queries", {{4, 2, 0, 7}, {60, 0, 5, 1}, 2, 2, 12}, 9);
    biased("bias, causal", {{9, 60}, {4, 101}, 2, 1, 8, true}, 11);
    biased("bias, head dimension 80", {{40}, {70}, 1, 1, 80}, 17);
    biased("bias, head dimension 256", {{3}, {40}, 1, 1, 256}, 17);
    biased("wavlm-base encoder, 30 s", {{1499}, {1499}, 12, 12, 64, false, true}, 800);
    one("whisper-base encoder", {{1500}, {1500}, 8, 8, 64, false, true});
    one("smollm2, 4 x 160, causal", {{160, 160, 160, 160}, {160, 160, 160, 160}, 9, 3, 64, true, true});
    one("7b, 512, causal", {{512}, {512}, 32, 32, 128, true, true});
}

}  // namespace wavllm
