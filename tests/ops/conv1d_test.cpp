// conv1d in groups beyond its cases. Witness: the same convolution done another way: the f32 product of factors that are
// bf16 already, which the product in bf16 gives to the bit (kernels/gemm/gemm_bf16.h); each group as a convolution of its own.

#include "kernels/conv1d/conv1d.h"

#include <doctest/doctest.h>

#include "kernels/common/check.h"
#include "kernels/common/op_case.h"

using namespace wavllm;

TEST_CASE("conv1d in groups: dx through a weight packed in bf16 is that of f32 if dy is bf16 already") {
    const Tensor borders = kernels::make_borders(std::vector<int64_t>{12, 1, 7});
    const auto rounded = [](const Tensor& t) { return t.to(DType::bf16).to(DType::f32); };
    for (const int64_t groups : {1, 2}) {
        const ConvGeometry g{.stride = 1, .padding = 2, .groups = groups, .drop_last = 1};
        const Tensor w = rounded(random({96, 48 / groups, 4}, 0.3)), dy = rounded(random({20, 96}));
        const std::vector<double> exact = kernels::conv1d_backward_x(dy, borders, w, g).values();
        CHECK(kernels::conv1d_backward_x(dy, borders, PackedConv::pack(w, DType::f32, groups), g).values() == exact);
        CHECK(kernels::conv1d_backward_x(dy, borders, PackedConv::pack(w, DType::bf16, groups), g).values() == exact);
        const Tensor there = w.to(Device::sim);
        CHECK(kernels::conv1d_backward_x(dy.to(Device::sim), borders, PackedConv::pack(there, DType::f32, groups), g)
                  .values() == exact);
    }
}

TEST_CASE("conv1d in groups is a convolution of each group") {
    const Tensor borders = kernels::make_borders(std::vector<int64_t>{9, 14}), none;
    const Tensor x = random({23, 12}), w = random({18, 4, 3}), bias = random({18});
    const Tensor y = kernels::conv1d(x, borders, w, bias, {.stride = 2, .padding = 1, .groups = 3});
    for (int64_t i = 0; i < 3; ++i) {
        const Tensor own =
            kernels::conv1d(x.slice(1, 4 * i, 4 * i + 4).to_contiguous(), borders, w.slice(0, 6 * i, 6 * i + 6),
                            bias.slice(0, 6 * i, 6 * i + 6), {.stride = 2, .padding = 1});
        CHECK(y.slice(1, 6 * i, 6 * i + 6).to_contiguous().values() == own.values());
    }
}

TEST_CASE("conv1d refuses groups that do not fit") {
    const Tensor borders = kernels::make_borders(std::vector<int64_t>{9}), none;
    const Tensor x = random({9, 12}), w = random({18, 4, 3});
    CHECK_THROWS_WITH_AS(kernels::conv1d(x, borders, w, none, {.groups = 4}),
                         doctest::Contains("4 groups do not divide the 18 output channels"), ShapeError);
    CHECK_THROWS_WITH_AS(kernels::conv1d(x, borders, w, none, {.groups = 2}),
                         doctest::Contains("weight takes 8 channels in 2 groups"), ShapeError);
    CHECK_THROWS_WITH_AS(kernels::conv1d(x, borders, PackedConv::pack(w, DType::f32, 3), none, {}),
                         doctest::Contains("packed in 3 groups, but the convolution has 1"), ShapeError);
}
