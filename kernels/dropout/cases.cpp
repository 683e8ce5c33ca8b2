#include "kernels/common/op_case.h"
#include "kernels/dropout/dropout.h"

namespace wavllm {

namespace {

kernels::DropoutKey key_of(const Params& p) {
    const std::vector<int64_t>& keys = p.list("row_keys");
    return {.p = p.f("p"),
            .seed = static_cast<uint64_t>(p.i("seed")),
            .purpose = purpose_hash("dropout.case"),
            .step = static_cast<uint32_t>(p.i("step")),
            .row_keys = Tensor::from(keys, {static_cast<int64_t>(keys.size())})};
}

std::vector<int64_t> count(int64_t n, int64_t first) {
    std::vector<int64_t> keys(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) keys[static_cast<size_t>(i)] = first + i;
    return keys;
}

}  // namespace

OP_CASES(dropout) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params& p) { return kernels::dropout(in[0], key_of(p)); };

    const auto one = [&](const char* name, const Shape& shape, double p, double seed, int64_t first_key,
                         bool bench = false) {
        const double n = static_cast<double>(shape.numel());
        Params params{{"p", p}, {"seed", seed}, {"step", 7}};
        params.list("row_keys", count(shape.numel() / shape.last(), first_key));
        op.add({.name = name,
                .inputs = {random(shape)},
                .params = params,
                .bytes = 8 * n,
                .flops = 30 * n,
                .bench = bench});
    };
    one("one element", {1, 1}, 0.5, 1, 0);
    one("fewer than 16 columns", {5, 7}, 0.3, 1, 3);
    one("every kind of tail", {4, 64 + 32 + 16 + 3}, 0.1, 2, 10);
    one("one more than a vector", {4, 17}, 0.1, 2, 10);
    one("smollm2 row", {3, 576}, 0.05, 0x123456789AB, 1 << 20);
    one("keys past 2^32 blocks", {2, 100}, 0.5, 1, (int64_t{1} << 40) + 5);
    one("p = 0", {2, 20}, 0, 1, 0);
    one("p near 1", {3, 400}, 0.999, 1, 0);
    op.cases.back().tolerance = 1e-4;  // 1 - p in f32
    one("three dimensions", {2, 3, 40}, 0.5, 1, 0);
    one("640x576", {640, 576}, 0.05, 1, 0, true);
}

}  // namespace wavllm
