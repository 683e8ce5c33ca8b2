#include "kernels/common/check.h"
#include "kernels/common/op_case.h"
#include "kernels/linear/case_weights.h"
#include "kernels/lora_linear/lora_linear.h"

namespace wavllm {

namespace {

Tensor row_keys(int64_t rows) {
    Tensor keys = Tensor::empty({rows}, DType::i64);
    int64_t* p = keys.mutable_data<int64_t>();
    for (int64_t i = 0; i < rows; ++i) p[i] = 1000 + 3 * i;
    return keys;
}

DropoutKey dropout_of(const Params& p, int64_t rows) {
    return {p.f("dropout"), 7, 21, 3, row_keys(rows)};
}

LoraScale scale_of(Inputs in, const Params& p) {
    if (in.size() < 5) return {p.number("scale")};
    return {1, in[4], kernels::make_borders(p.list("lengths"))};
}

}  // namespace

// Inputs: x, w, lora_a, lora_b and, for a vector a request, r.
OP_CASES(lora_linear) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params& p) {
        const DropoutKey drop = dropout_of(p, in[0].rows());
        return kernels::lora_linear(in[0], packed_once(in[1], packed_dtype(p)), in[2], in[3], scale_of(in, p), &drop).y;
    };
    const auto one = [&](const char* name, int64_t rows, int64_t k, int64_t n, int64_t rank, Params p,
                         std::vector<int64_t> lengths = {}, bool bench = false) {
        std::vector<Tensor> inputs = {random({rows, k}), random({n, k}, 0.1), random({k, rank}, 0.1),
                                      random({rank, n}, 0.1)};
        const bool bf16 = p.flag("bf16");
        if (bf16)
            for (Tensor& t : inputs) t = t.to(DType::bf16).to(DType::f32);
        inputs[1] = on_grid(inputs[1], packed_dtype(p));
        const double m = static_cast<double>(rows), flops = 2 * m * static_cast<double>(k * n + rank * (k + n));
        if (!lengths.empty()) {
            inputs.push_back(random({static_cast<int64_t>(lengths.size()), n}));
            p.list("lengths", lengths);
        }
        op.add({.name = name,
                .inputs = std::move(inputs),
                .params = std::move(p),
                .differentiable = {true, false, true, true, true},
                .bytes = 4 * (m * static_cast<double>(k + n) + static_cast<double>(k * n + rank * (k + n))),
                .flops = flops,
                .bench = bench});
        op.cases.back().differentiable.resize(op.cases.back().inputs.size());
        if (!bf16) return;
        // x, w, a, b are bf16 already, so the base product is exact to f32. What is rounded, by at most 2^-9 of itself:
        // u on its way into uB (and x where dropout scaled it: twice), so y is off by up to 2^-9 (2^-8) of the sum of
        // |u B|, which is a part of |y|. In the gradients dy and then du or u are rounded: 2^-8 of the sum of the terms'
        // sizes, and that sum is up to about twice the largest gradient here.
        op.cases.back().tolerance = 0x1p-8;
        op.cases.back().gradient_tolerance = 0x1p-7;
    };
    one("a number", 5, 24, 40, 4, {{"scale", 2}, {"dropout", 0}});
    one("a number, dropout", 33, 40, 70, 16, {{"scale", 0.5}, {"dropout", 0.25}});
    one("a vector a request", 9, 24, 40, 4, {{"dropout", 0}}, {4, 0, 5});
    one("a vector a request, dropout", 20, 36, 65, 8, {{"dropout", 0.1}}, {13, 7});
    one("strength 0", 4, 8, 8, 2, {{"scale", 0}, {"dropout", 0}});
    one("bf16, a number", 33, 40, 70, 16, {{"scale", 0.5}, {"dropout", 0}, {"bf16", 1}});
    one("bf16, a number, dropout", 20, 35, 40, 5, {{"scale", 2}, {"dropout", 0.25}, {"bf16", 1}});
    one("bf16, a vector a request, dropout", 20, 36, 65, 8, {{"dropout", 0.1}, {"bf16", 1}}, {13, 7});
    one("bf16, one row, sizes below a panel", 1, 3, 2, 1, {{"scale", 1}, {"dropout", 0}, {"bf16", 1}});
    for (const char* format : {"int8", "q8_0", "q4_1", "q4_0"}) {
        one(fmt::format("{}, a number, dropout", format).c_str(), 20, 64, 40, 5,
            {{"scale", 2}, {"dropout", 0.25}, {"bf16", 1}, {format, 1}});
        one(fmt::format("{}, a vector a request", format).c_str(), 9, 32, 65, 8,
            {{"dropout", 0}, {"bf16", 1}, {format, 1}}, {4, 5});
    }
    one("640x576x576 rank 32 bf16", 640, 576, 576, 32, {{"scale", 1}, {"dropout", 0}, {"bf16", 1}}, {}, true);
    one("640x576x576 rank 32", 640, 576, 576, 32, {{"scale", 1}, {"dropout", 0}}, {}, true);
    one("640x576x576 rank 32 dropout", 640, 576, 576, 32, {{"scale", 1}, {"dropout", 0.1}}, {}, true);
}

}  // namespace wavllm
