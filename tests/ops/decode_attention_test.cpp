// Decoding attention beyond its list of cases: same bits for any batch, agreement with the other kernel, errors.
#include "kernels/decode_attention/decode_attention.h"

#include <doctest/doctest.h>

#include <cstring>

#include "kernels/attention/attention.h"
#include "kernels/common/check.h"
#include "kernels/common/op_case.h"

using namespace wavllm;

namespace {

Tensor lengths_of(const std::vector<int64_t>& lengths) {
    return Tensor::from(lengths, {static_cast<int64_t>(lengths.size())});
}

}  // namespace

TEST_CASE("decode_attention: a request has the same bits alone and in a batch, and in a larger cache") {
    const std::vector<int64_t> lengths{1, 300, 700, 0, 256};
    const Tensor q = random({5, 6, 24}), k = random({5, 800, 2, 24}), v = random({5, 800, 2, 24});
    const Tensor all = kernels::decode_attention(q, k, v, lengths_of(lengths), 0.2f);
    for (int64_t b = 0; b < 5; ++b) {
        CAPTURE(b);
        const int64_t n = lengths[static_cast<size_t>(b)];
        const Tensor alone = kernels::decode_attention(q.slice(0, b, b + 1), k.slice(0, b, b + 1).slice(1, 0, n + 3),
                                                       v.slice(0, b, b + 1).slice(1, 0, n + 3), lengths_of({n}), 0.2f);
        CHECK(std::memcmp(alone.raw(), all.slice(0, b, b + 1).raw(), alone.bytes()) == 0);
    }
}

TEST_CASE("decode_attention agrees with attention()") {  // witness: another kernel
    const Tensor q = random({1, 6, 64}), k = random({1, 500, 3, 64}), v = random({1, 500, 3, 64});
    const Tensor y = kernels::decode_attention(q, k, v, lengths_of({500}), 0.125f);
    const AttentionLayout layout{kernels::make_borders(std::vector<int64_t>{1}),
                                 kernels::make_borders(std::vector<int64_t>{500}), AttentionMask::causal, 0.125f};
    const Tensor other = kernels::attention(q, k.select(0, 0), v.select(0, 0), layout).y;
    for (int64_t i = 0; i < y.numel(); ++i)
        CHECK(y.data<float>()[i] == doctest::Approx(other.data<float>()[i]).epsilon(1e-5).scale(0.1));
}

TEST_CASE("decode_attention: errors") {
    const Tensor q = random({2, 4, 8}), k = random({2, 5, 2, 8});
    CHECK_THROWS_WITH_AS(kernels::decode_attention(q, k, k, lengths_of({5, 6}), 1),
                         "decode_attention: request 1 has length 6, but the cache holds 0 to 5 keys", ShapeError);
    CHECK_THROWS_AS(kernels::decode_attention(q, k, k, lengths_of({-1, 1}), 1), ShapeError);
    CHECK_THROWS_AS(kernels::decode_attention(q, k, k, lengths_of({1}), 1), ShapeError);
    CHECK_THROWS_AS(kernels::decode_attention(random({2, 3, 8}), k, k, lengths_of({1, 1}), 1), ShapeError);
    CHECK_THROWS_AS(kernels::decode_attention(q, random({2, 5, 2, 9}), k, lengths_of({1, 1}), 1), ShapeError);
}
