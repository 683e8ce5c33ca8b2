#include "kernels/common/check.h"
#include "kernels/common/op_case.h"
#include "kernels/conv1d/conv1d.h"

namespace wavllm {

OP_CASES(conv1d) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params& p) {
        const ConvGeometry g{p.i("stride"), p.i("padding"), static_cast<int64_t>(p.number("groups", 1)),
                             p.flag("drop_last")};
        const Tensor borders = kernels::make_borders(p.list("lengths"));
        const DType dtype = p.flag("bf16") ? DType::bf16 : DType::f32;
        return p.flag("packed") ? kernels::conv1d(in[0], borders, PackedConv::pack(in[1], dtype, g.groups), in[2], g)
                                : kernels::conv1d(in[0], borders, in[1], in[2], g);
    };
    const auto one = [&](const char* name, std::vector<int64_t> lengths, int64_t in, int64_t out, int64_t taps,
                         Params p, bool bench = false) {
        int64_t rows = 0;
        for (int64_t l : lengths) rows += l;
        const auto groups = static_cast<int64_t>(p.number("groups", 1));
        const double flops = 2.0 * static_cast<double>(rows / p.i("stride") * in / groups * out * taps);
        const bool trained = !p.flag("packed");
        op.add({.name = name,
                .inputs = {random({rows, in}), random({out, in / groups, taps}, 0.3), random({out})},
                .params = p.list("lengths", std::move(lengths)),
                .differentiable = {true, trained, true},
                .bytes = 4.0 * static_cast<double>(rows * in + rows / p.i("stride") * out + in / groups * out * taps),
                .flops = flops,
                .bench = bench});
    };
    one("Whisper's first", {20}, 8, 12, 3, {{"stride", 1}, {"padding", 1}});
    one("Whisper's second", {21}, 6, 9, 3, {{"stride", 2}, {"padding", 1}});
    one("several sequences", {7, 1, 2, 12}, 5, 6, 3, {{"stride", 2}, {"padding", 1}});
    one("packed", {9, 14}, 16, 40, 3, {{"stride", 2}, {"padding", 1}, {"packed", 1}});
    const auto in_bf16 = [&](const char* name, std::vector<int64_t> lengths, int64_t in, int64_t out, int64_t stride) {
        one(name, std::move(lengths), in, out, 3,
            {{"stride", static_cast<double>(stride)}, {"padding", 1}, {"packed", 1}, {"bf16", 1}});
        // inputs that are bf16 already: only dy is rounded, by at most 2^-9 of itself
        for (Tensor& t : op.cases.back().inputs) t = t.to(DType::bf16).to(DType::f32);
        op.cases.back().gradient_tolerance = 0x1p-9;
    };
    in_bf16("packed bf16", {9, 14}, 16, 40, 2);
    in_bf16("packed bf16, odd channels", {5, 1, 8}, 5, 7, 1);
    one("no padding, long stride", {31, 10}, 3, 7, 10, {{"stride", 5}, {"padding", 0}});
    one("a sequence shorter than the kernel gives nothing", {2, 8}, 4, 3, 5, {{"stride", 1}, {"padding", 0}});
    one("one channel in, WavLM's first", {53, 40}, 1, 12, 10, {{"stride", 5}, {"padding", 0}});
    one("one channel in, packed", {53, 40}, 1, 40, 10, {{"stride", 5}, {"padding", 0}, {"packed", 1}});
    one("groups", {9, 1, 14}, 12, 18, 3, {{"stride", 2}, {"padding", 1}, {"groups", 3}});
    one("groups of one channel", {11}, 5, 5, 4, {{"stride", 1}, {"padding", 2}, {"groups", 5}});
    one("positional convolution", {30, 3, 0, 17}, 24, 24, 16,
        {{"stride", 1}, {"padding", 8}, {"groups", 4}, {"drop_last", 1}});
    one("positional convolution, packed", {30, 3, 0, 17}, 24, 24, 16,
        {{"stride", 1}, {"padding", 8}, {"groups", 4}, {"drop_last", 1}, {"packed", 1}});
    one("groups of 32 and 64, packed", {9}, 128, 64, 3, {{"stride", 1}, {"padding", 1}, {"groups", 2}, {"packed", 1}});
    const auto groups_in_bf16 = [&](const char* name, int64_t in, int64_t out, double groups) {
        one(name, {12, 1, 7}, in, out, 4,
            {{"stride", 1}, {"padding", 2}, {"groups", groups}, {"drop_last", 1}, {"packed", 1}, {"bf16", 1}});
        for (Tensor& t : op.cases.back().inputs) t = t.to(DType::bf16).to(DType::f32);
        // Only dy is rounded, each term by at most 2^-9 of itself, but a sum of terms that cancel can be off by more of
        // itself: 2e-3 was seen. tests/ops/conv1d_test.cpp has the exact comparison, with a dy that is bf16 already.
        op.cases.back().gradient_tolerance = 0x1p-8;
    };
    groups_in_bf16("groups, packed bf16", 48, 96, 2);
    groups_in_bf16("groups of odd channels, packed bf16", 9, 15, 3);
    one("3000x80x512", {3000}, 80, 512, 3, {{"stride", 1}, {"padding", 1}}, true);
    one("3000x512x512 stride 2", {3000}, 512, 512, 3, {{"stride", 2}, {"padding", 1}}, true);
    one("480000x1x512 stride 5, WavLM's first", {480000}, 1, 512, 10, {{"stride", 5}, {"padding", 0}, {"packed", 1}},
        true);
    one("1500x768x768 in 16 groups, WavLM's positional", {1500}, 768, 768, 128,
        {{"stride", 1}, {"padding", 64}, {"groups", 16}, {"drop_last", 1}, {"packed", 1}}, true);
}

}  // namespace wavllm
