// Attention beyond its list of cases: fused against composed, same bits alone and in a batch, memory, views, errors.
#include "autograd/ops/attention.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/common/fusion.h"
#include "kernels/common/op_case.h"
#include "tensor/thread_pool.h"

using namespace wavllm;

namespace {

AttentionLayout layout_of(const std::vector<int64_t>& q, const std::vector<int64_t>& k, AttentionMask mask) {
    return {kernels::make_borders(q), kernels::make_borders(k), mask, 0.3f};
}

struct Result {
    Tensor y, dq, dk, dv;
};

Result run(Tensor q, Tensor k, Tensor v, const Tensor& dy, const AttentionLayout& layout) {
    for (Tensor* t : {&q, &k, &v}) {
        *t = t->to_contiguous();
        set_requires_grad(*t);
    }
    const Tensor y = attention(q, k, v, layout);
    backward(y, dy);
    return {y.detach(), grad(q), grad(k), grad(v)};
}

bool same_bits(const Tensor& a, const Tensor& b) {
    const Tensor x = a.to_contiguous(), y = b.to_contiguous();
    return x.shape() == y.shape() && std::memcmp(x.raw(), y.raw(), x.bytes()) == 0;
}

double largest_difference(const Tensor& a, const Tensor& b) {
    const std::vector<double> x = a.values(), y = b.values();
    REQUIRE(x.size() == y.size());
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i)
        if (const double error = std::abs(x[i] - y[i]); !(error <= worst)) worst = error;  // NaN stays
    return worst;
}

}  // namespace

TEST_CASE("attention: fused agrees with composed, values and gradients") {  // witness: an independent implementation
    for (const AttentionMask mask : {AttentionMask::full, AttentionMask::causal}) {
        const AttentionLayout layout = layout_of({50, 0, 1, 7}, {61, 3, 1, 5}, mask);
        const Tensor q = random({58, 6, 16}), k = random({70, 2, 16}), v = random({70, 2, 16}), dy = random({58, 96});
        const Result fused_result = run(q, k, v, dy, layout);
        set_fusion("attention");
        REQUIRE(!fused("attention"));
        const Result composed = run(q, k, v, dy, layout);
        set_fusion("on");
        CHECK(largest_difference(fused_result.y, composed.y) < 1e-5);
        CHECK(largest_difference(fused_result.dq, composed.dq) < 1e-5);
        CHECK(largest_difference(fused_result.dk, composed.dk) < 1e-5);
        CHECK(largest_difference(fused_result.dv, composed.dv) < 1e-5);
        CHECK(largest_difference(composed.dk, Tensor::zeros({70, 2, 16})) > 0.1);
    }
}

TEST_CASE("attention: a sequence has the same bits alone and among others, with 1 thread and with 3") {
    const int before = num_threads();
    const std::vector<int64_t> queries{5, 1, 60, 0, 131}, keys{5, 40, 97, 2, 131};
    const Tensor q = random({197, 4, 12}), k = random({275, 2, 12}), v = random({275, 2, 12}), dy = random({197, 48});
    for (const AttentionMask mask : {AttentionMask::full, AttentionMask::causal}) {
        set_num_threads(3);
        const Result all = run(q, k, v, dy, layout_of(queries, keys, mask));
        set_num_threads(1);
        int64_t q0 = 0, k0 = 0;
        for (size_t s = 0; s < queries.size(); ++s) {
            CAPTURE(s);
            const int64_t q1 = q0 + queries[s], k1 = k0 + keys[s];
            const Result alone = run(q.slice(0, q0, q1), k.slice(0, k0, k1), v.slice(0, k0, k1),
                                     dy.slice(0, q0, q1).to_contiguous(), layout_of({queries[s]}, {keys[s]}, mask));
            CHECK(same_bits(alone.y, all.y.slice(0, q0, q1)));
            CHECK(same_bits(alone.dq, all.dq.slice(0, q0, q1)));
            CHECK(same_bits(alone.dk, all.dk.slice(0, k0, k1)));
            CHECK(same_bits(alone.dv, all.dv.slice(0, k0, k1)));
            q0 = q1;
            k0 = k1;
        }
    }
    set_num_threads(before);
}

TEST_CASE("attention: a row has the same bits wherever it stands in a tile, and whatever follows it") {
    const Tensor q = random({100, 1, 20}), k = random({100, 1, 20}), v = random({100, 1, 20});
    const Tensor whole = attention(q, k, v, layout_of({100}, {100}, AttentionMask::causal));
    for (const int64_t n : {1, 6, 7, 47, 48, 49, 99}) {
        CAPTURE(n);
        // a prompt of n, then the rest against all keys: as a cache grows
        const Tensor head =
            attention(q.slice(0, 0, n), k.slice(0, 0, n), v.slice(0, 0, n), layout_of({n}, {n}, AttentionMask::causal));
        const Tensor tail = attention(q.slice(0, n, 100), k, v, layout_of({100 - n}, {100}, AttentionMask::causal));
        CHECK(same_bits(head, whole.slice(0, 0, n)));
        CHECK(same_bits(tail, whole.slice(0, n, 100)));
    }
}

TEST_CASE("attention: views into a fused projection give the bits of their copies") {
    const Tensor qkv = random({70, 8, 24});  // heads: 4 of q, 2 of k, 2 of v
    const Tensor q = qkv.slice(1, 0, 4), k = qkv.slice(1, 4, 6), v = qkv.slice(1, 6, 8), dy = random({70, 96});
    REQUIRE(!q.contiguous());
    const AttentionLayout layout = layout_of({30, 40}, {30, 40}, AttentionMask::causal);
    const kernels::AttentionForward f = kernels::attention(q, k, v, layout);
    const kernels::AttentionGradients g = kernels::attention_backward(dy, q, k, v, f, layout, {true, true});
    const Result copies = run(q, k, v, dy, layout);
    CHECK(same_bits(f.y, copies.y));
    CHECK(same_bits(g.dq, copies.dq));
    CHECK(same_bits(g.dk, copies.dk));
    CHECK(same_bits(g.dv, copies.dv));
}

namespace {

struct BiasedResult {
    Tensor y, dq, dk, dv, dgate, dby_distance;
};

BiasedResult run_biased(Tensor q, Tensor k, Tensor v, Tensor gate, Tensor by_distance, const Tensor& dy,
                        const AttentionLayout& layout) {
    for (Tensor* t : {&q, &k, &v, &gate, &by_distance}) {
        *t = t->clone();
        set_requires_grad(*t);
    }
    const Tensor y = attention(q, k, v, layout, {gate, by_distance});
    backward(y, dy);
    return {y.detach(), grad(q), grad(k), grad(v), grad(gate), grad(by_distance)};
}

}  // namespace

TEST_CASE("attention with a gated bias: fused agrees with composed, values and gradients") {
    for (const AttentionMask mask : {AttentionMask::full, AttentionMask::causal}) {
        const AttentionLayout layout = layout_of({50, 0, 1, 97}, {61, 3, 1, 97}, mask);
        const Tensor q = random({148, 6, 16}), k = random({162, 2, 16}), v = random({162, 2, 16}),
                     dy = random({148, 96}), gate = random({148, 6}, 0.5, 2), by_distance = random({41, 6});
        const BiasedResult fused_result = run_biased(q, k, v, gate, by_distance, dy, layout);
        set_fusion("attention");
        const BiasedResult composed = run_biased(q, k, v, gate, by_distance, dy, layout);
        set_fusion("on");
        CHECK(largest_difference(fused_result.y, composed.y) < 1e-5);
        CHECK(largest_difference(fused_result.dq, composed.dq) < 1e-5);
        CHECK(largest_difference(fused_result.dk, composed.dk) < 1e-5);
        CHECK(largest_difference(fused_result.dv, composed.dv) < 1e-5);
        CHECK(largest_difference(fused_result.dgate, composed.dgate) < 2e-5);
        CHECK(largest_difference(fused_result.dby_distance, composed.dby_distance) < 1e-4);
        CHECK(largest_difference(composed.dby_distance, Tensor::zeros({41, 6})) > 1);
    }
}

TEST_CASE(
    "attention with a gated bias: a sequence has the same bits alone and among others, with 1 thread and with 3") {
    const int before = num_threads();
    const std::vector<int64_t> lengths{5, 1, 60, 0, 131};
    const Tensor q = random({197, 4, 12}), k = random({197, 4, 12}), v = random({197, 4, 12}), dy = random({197, 48}),
                 gate = random({197, 4}, 0.5, 2), by_distance = random({61, 4});
    set_num_threads(3);
    const BiasedResult all =
        run_biased(q, k, v, gate, by_distance, dy, layout_of(lengths, lengths, AttentionMask::full));
    set_num_threads(1);
    Tensor sum = Tensor::zeros({61, 4});
    int64_t begin = 0;
    for (const int64_t n : lengths) {
        CAPTURE(n);
        const auto part = [&, begin, n](const Tensor& t) { return t.slice(0, begin, begin + n).to_contiguous(); };
        const AttentionLayout layout = layout_of({n}, {n}, AttentionMask::full);
        const BiasedResult alone = run_biased(part(q), part(k), part(v), part(gate), by_distance, part(dy), layout);
        CHECK(same_bits(alone.y, part(all.y)));
        CHECK(same_bits(alone.dq, part(all.dq)));
        CHECK(same_bits(alone.dk, part(all.dk)));
        CHECK(same_bits(alone.dv, part(all.dv)));
        CHECK(same_bits(alone.dgate, part(all.dgate)));
        for (int64_t i = 0; i < sum.numel(); ++i) sum.mutable_data<float>()[i] += alone.dby_distance.data<float>()[i];
        begin += n;
    }
    CHECK(same_bits(sum, all.dby_distance));
    set_num_threads(before);
}

TEST_CASE("attention with a bias: errors name what does not fit") {
    const Tensor q = random({6, 2, 8});
    AttentionLayout layout = layout_of({6}, {6}, AttentionMask::full);
    CHECK_NOTHROW(attention(q, q, q, layout, {random({6, 2}), random({5, 2})}));
    CHECK_THROWS_AS(attention(q, q, q, layout, {random({5, 2}), random({5, 2})}), ShapeError);  // rows
    CHECK_THROWS_AS(attention(q, q, q, layout, {random({6, 2}), random({4, 2})}), ShapeError);  // no middle
    CHECK_THROWS_AS(attention(q, q, q, layout, {random({6, 2}), random({5, 3})}), ShapeError);  // heads
    CHECK_THROWS_AS(attention(q, q, q, layout, {random({6, 2}), {}}), Error);                   // half a bias
    layout.products = DType::bf16;
    CHECK_THROWS_AS(attention(q, q, q, layout, {random({6, 2}), random({5, 2})}), DTypeError);
}

TEST_CASE("attention: memory grows with T, not with T x T") {
    constexpr int64_t kT = 1500;
    const Tensor q = random({kT, 1, 8}), k = random({kT, 1, 8}), v = random({kT, 1, 8}), dy = random({kT, 8});
    memory::reset_peaks();
    const size_t before = memory::total().peak;
    run(q, k, v, dy, layout_of({kT}, {kT}, AttentionMask::full));
    const size_t used = memory::total().peak - before;
    CHECK(used >= kT * 8 * sizeof(float));      // the result is counted, so the account works
    CHECK(used < kT * kT * sizeof(float) / 8);  // 9 MB would be one head's scores
}

TEST_CASE("attention: a frozen input gets no gradient, the others the same bits") {
    const AttentionLayout layout = layout_of({20}, {20}, AttentionMask::causal);
    const Tensor q = random({20, 2, 8}), k = random({20, 1, 8}), v = random({20, 1, 8}), dy = random({20, 16});
    const Result all = run(q, k, v, dy, layout);
    Tensor leaf = q.clone();
    set_requires_grad(leaf);
    backward(attention(leaf, k, v, layout), dy);
    CHECK(same_bits(grad(leaf), all.dq));
    CHECK(!grad(k).defined());
    leaf = v.clone();
    set_requires_grad(leaf);
    backward(attention(q, k, leaf, layout), dy);
    CHECK(same_bits(grad(leaf), all.dv));
}

TEST_CASE("attention: errors name what does not fit") {
    const auto call = [](const Shape& q, const Shape& k, const Shape& v, const std::vector<int64_t>& ql,
                         const std::vector<int64_t>& kl) {
        return attention(random(q), random(k), random(v), layout_of(ql, kl, AttentionMask::full));
    };
    CHECK_NOTHROW(call({3, 4, 8}, {5, 2, 8}, {5, 2, 8}, {3}, {5}));
    CHECK_THROWS_AS(call({3, 3, 8}, {5, 2, 8}, {5, 2, 8}, {3}, {5}), ShapeError);        // heads
    CHECK_THROWS_AS(call({3, 4, 8}, {5, 2, 9}, {5, 2, 9}, {3}, {5}), ShapeError);        // head dimension
    CHECK_THROWS_AS(call({3, 4, 8}, {5, 2, 8}, {4, 2, 8}, {3}, {5}), ShapeError);        // k and v
    CHECK_THROWS_AS(call({3, 4, 8}, {5, 2, 8}, {5, 2, 8}, {2}, {5}), ShapeError);        // borders
    CHECK_THROWS_AS(call({3, 4, 8}, {5, 2, 8}, {5, 2, 8}, {1, 2}, {5}), ShapeError);     // sequences
    CHECK_THROWS_AS(call({1, 1, 257}, {1, 1, 257}, {1, 1, 257}, {1}, {1}), ShapeError);  // head dimension
}
