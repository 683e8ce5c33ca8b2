#include "kernels/common/op_case.h"
#include "kernels/linear/case_weights.h"
#include "kernels/linear/linear.h"

namespace wavllm {

namespace {

Tensor run(Inputs in, const Params& p) {
    const Tensor bias = in.size() > 2 ? in[2] : Tensor();
    if (!p.flag("packed")) return kernels::linear(in[0], in[1], bias);
    return kernels::linear(in[0], packed_once(in[1], packed_dtype(p)), bias);
}

}  // namespace

OP_CASES(linear) {
    op.same_bits = true;
    op.forward = run;
    op.reference = [](Inputs64 in, const Params&) {
        const Array64 &x = in[0], &w = in[1];
        const int64_t n = w.shape[0], k = w.shape[1];
        Array64 y(x.shape.with(-1, n));
        for (int64_t m = 0; m < x.rows(); ++m)
            for (int64_t i = 0; i < n; ++i) {
                double sum = in.size() > 2 ? in[2][i] : 0;
                for (int64_t j = 0; j < k; ++j) sum += x[m * k + j] * w[i * k + j];
                y[m * n + i] = sum;
            }
        return y;
    };
    const auto one = [&](const char* name, const Shape& x, int64_t n, Params params, bool bias,
                         DType dtype = DType::f32) {
        const int64_t k = x.last();
        std::vector<Tensor> inputs = {random(x), random({n, k}, 1 / std::sqrt(static_cast<double>(k))).to(dtype)};
        const DType packed = packed_dtype(params);
        if (packed != DType::f32) inputs[0] = inputs[0].to(DType::bf16).to(DType::f32);
        if (info(packed).frozen_block) inputs[1] = on_grid(inputs[1], packed);
        if (bias) inputs.push_back(random({n}));
        std::vector<bool> differentiable = {true, dtype == DType::f32 && !params.flag("packed"), bias};
        op.add({.name = name, .inputs = inputs, .params = params, .differentiable = differentiable});
        // Where the inputs are bf16 already, only dy is rounded: each term of a gradient by at most 2^-9 of itself, and
        // the terms' sizes add up to at most about four times the largest gradient here.
        if (packed != DType::f32) op.cases.back().gradient_tolerance = 0x1p-7;
    };
    one("1x1", {1, 1}, 1, {}, true);
    one("odd sizes", {5, 13}, 9, {}, true);
    one("three dimensions", {2, 3, 40}, 70, {}, true);
    one("tile borders", {29, 64}, 65, {}, false);
    one("depth over several blocks", {15, 700}, 33, {}, true);
    one("no rows", {0, 8}, 4, {}, true);
    one("packed", {17, 96}, 100, {{"packed", 1}}, true);
    one("packed, row distance of 4 KiB", {30, 1024}, 130, {{"packed", 1}}, false);
    one("packed bf16 weight", {17, 96}, 100, {{"packed", 1}, {"bf16", 1}}, true, DType::bf16);
    one("packed bf16, odd depth", {30, 77}, 65, {{"packed", 1}, {"bf16", 1}}, true, DType::bf16);
    one("packed bf16, one row, depth below a panel", {1, 3}, 40, {{"packed", 1}, {"bf16", 1}}, false, DType::bf16);
    one("packed bf16, several slices", {15, 1700}, 33, {{"packed", 1}, {"bf16", 1}}, true, DType::bf16);
    one("packed bf16, no rows", {0, 8}, 4, {{"packed", 1}, {"bf16", 1}}, true, DType::bf16);
    for (const char* format : {"int8", "q8_0", "q4_1", "q4_0"}) {
        const auto in = [&](const char* what) { return fmt::format("{}, {}", format, what); };
        one(in("one row").c_str(), {1, 64}, 40, {{"packed", 1}, {"bf16", 1}, {format, 1}}, false);
        one(in("few rows").c_str(), {3, 96}, 100, {{"packed", 1}, {"bf16", 1}, {format, 1}}, true);
        one(in("many rows").c_str(), {2, 17, 1600}, 65, {{"packed", 1}, {"bf16", 1}, {format, 1}}, true);
        one(in("no rows").c_str(), {0, 32}, 4, {{"packed", 1}, {"bf16", 1}, {format, 1}}, true);
    }
    one("bf16 weight", {5, 64}, 40, {}, false, DType::bf16);
    const auto bench = [&](int64_t m, int64_t k, int64_t n, Params params, const char* name) {
        const DType dtype = packed_dtype(params);
        const double weight = static_cast<double>(info(dtype).block_bytes) / info(dtype).block_elements;
        op.add({.name = name,
                .inputs = {random({m, k}), random({n, k}, 0.05)},
                .params = params,
                .bytes = 4.0 * static_cast<double>(m * k + m * n) + weight * static_cast<double>(n * k),
                .flops = 2.0 * static_cast<double>(m * n * k),
                .bench = true});
    };
    bench(640, 576, 1536, {}, "640x576x1536");
    bench(1500, 512, 2048, {}, "1500x512x2048");
    bench(640, 576, 1536, {{"packed", 1}}, "640x576x1536 packed");
    bench(640, 576, 1536, {{"packed", 1}, {"bf16", 1}}, "640x576x1536 packed bf16");
    for (const char* format : {"bf16", "q8_0", "q4_1"})  // int8 and q4_0 lie as the last two
        for (const int64_t rows : {1, 400})
            bench(rows, 4096, 4096, {{"packed", 1}, {"bf16", 1}, {format, 1}},
                  fmt::format("{}x4096x4096 {}", rows, format).c_str());
}

}  // namespace wavllm
