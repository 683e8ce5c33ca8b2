#include "kernels/common/op_case.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace wavllm {

namespace {

Tensor ids(std::vector<int32_t> values) {
    const auto n = static_cast<int64_t>(values.size());
    return Tensor::from(values, {n});
}

}  // namespace

// The mean over rows, as the autograd op gives it: inputs x, head, targets.
OP_CASES(cross_entropy) {
    op.forward = [](Inputs in, const Params& p) {
        const auto n = static_cast<double>(in[0].rows());
        const PackedWeight& head = packed_once(in[1], p.flag("bf16") ? DType::bf16 : DType::f32);
        const Tensor losses = kernels::cross_entropy(in[0], head, in[2], 1, false).losses;
        double sum = 0;
        for (double l : losses.values()) sum += l;
        return Tensor::full({1}, sum / n, losses.dtype());
    };
    const auto one = [&](const char* name, int64_t n, int64_t d, int64_t v, double scale, bool bench = false) {
        const auto flops = 4.0 * static_cast<double>(n * d * v);
        op.add({.name = name,
                .inputs = {random({n, d}), random({v, d}, scale), random_ids({n}, v)},
                .differentiable = {true, false, false},
                .bytes = 4.0 * static_cast<double>(v * d + n * d),
                .flops = flops,
                .bench = bench});
    };
    one("one row", 1, 8, 20, 0.5);
    one("several chunks of rows", 130, 12, 50, 0.5);
    one("vocabulary no multiple of anything", 5, 33, 1037, 0.3);
    one("confident rows", 6, 16, 40, 8);
    op.cases.back().gradient_tolerance = 1e-4;  // the gradient of a confident row is a small difference
    const auto in_bf16 = [&](const char* name, int64_t n, int64_t d, int64_t v, double scale) {
        // x and head are bf16 already, so losses are as near as in f32; of the gradient each softmax(z) - onehot is
        // rounded by at most 2^-9 of itself
        one(name, n, d, v, scale);
        for (Tensor& t : op.cases.back().inputs)
            if (t.dtype() == DType::f32) t = t.to(DType::bf16).to(DType::f32);
        op.cases.back().params = {{"bf16", 1}};
        op.cases.back().gradient_tolerance = 0x1p-8;
    };
    in_bf16("bf16, one row, two classes", 1, 8, 2, 0.5);
    in_bf16("bf16, several chunks of rows", 130, 13, 50, 0.5);
    in_bf16("bf16, vocabulary no multiple of anything", 5, 33, 1037, 0.3);
    one("more rows than a device has logits of", 300, 12, 50, 0.5);
    one("32x576x4096", 32, 576, 4096, 0.05, true);
    one("160x576x49152", 160, 576, 49152, 0.05, true);
    one("160x576x49152 bf16", 160, 576, 49152, 0.05, true);
    op.cases.back().params = {{"bf16", 1}};
}

OP_CASES(cross_entropy_logits) {
    op.forward = [](Inputs in, const Params&) { return kernels::cross_entropy_logits(in[0], in[1]); };
    op.add({.name = "4x50", .inputs = {random({4, 50}, 2), ids({0, 49, 7, 7})}});
    op.add({.name = "2x1037", .inputs = {random({2, 1037}, 2), ids({1036, 3})}});
    op.add({.name = "huge logits", .inputs = {random({3, 20}, 1e4), ids({1, 2, 3})}});
    op.add({.name = "one class", .inputs = {random({2, 1}), ids({0, 0})}});
    op.add({.name = "160x49152",
            .inputs = {random({160, 49152}), random_ids({160}, 49152)},
            .bytes = 4.0 * 160 * 49152,
            .flops = 160.0 * 49152 * 2,
            .bench = true});
}

}  // namespace wavllm
