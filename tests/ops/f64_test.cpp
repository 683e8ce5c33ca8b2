// Ops in double (kernels/<op>/<op>_f64.h). Witnesses: central differences of the forward formula, which the f32 bodies are
// held to by op_cases_test.cpp; the references that some ops' cases keep of their own; and arithmetic by hand.

#include <doctest/doctest.h>

#include "autograd/derivative.h"
#include "autograd/gradient_check.h"
#include "autograd/ops/add_bias.h"
#include "autograd/ops/clamp.h"
#include "autograd/ops/rms_norm.h"
#include "autograd/ops/scale.h"
#include "autograd/ops/sum_all.h"
#include "autograd/tape.h"
#include "kernels/attention/attention.h"
#include "kernels/common/check.h"
#include "kernels/linear/linear.h"
#include "kernels/rms_norm/rms_norm.h"
#include "tensor/model_dtype.h"
#include "tests/support/temp_folder.h"
#include "train/optimizer.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

/// Ops that have no f64 form, and why the reference mode does without them.
constexpr std::array<std::string_view, 3> kInF32Alone = {
    "cast",      // rounds to bf16 and f16, which is what the reference mode is there to avoid
    "ctc_loss",  // of the CTC head, which the released model lacks: no golden value needs it
    "sample",    // draws a token in whole numbers, the same on every device; golden texts are greedy and of beams
};

bool in_f32_alone(const std::string& op) {
    return std::find(kInF32Alone.begin(), kInF32Alone.end(), op) != kInF32Alone.end();
}

std::vector<Tensor> in_f64(Inputs inputs) {
    std::vector<Tensor> result;
    for (const Tensor& t : inputs) {
        const bool real = t.defined() && info(t.dtype()).floating;
        result.push_back(!real ? t : info(t.dtype()).frozen_block ? t.to(DType::f32).to(DType::f64) : t.to(DType::f64));
    }
    return result;
}

template <class F>
void for_each_case(F&& f) {
    for (const auto& [name, op] : ops()) {
        DOCTEST_SUBCASE(name.c_str()) {
            for (const OpCase& c : op.cases) {
                CAPTURE(op.name);
                CAPTURE(c.name);
                f(op, c);
            }
        }
    }
}

}  // namespace

TEST_CASE("f64: every op computes in double, or says that it does not") {
    for (std::string_view name : kInF32Alone) CHECK_MESSAGE(ops().contains(std::string(name)), name, " is no op");
    for_each_case([](const Op& op, const OpCase& c) {
        const std::vector<Tensor> inputs = in_f64(c.inputs);
        if (in_f32_alone(op.name)) {
            const std::string message = message_of<DTypeError>([&] { op.forward(inputs, c.params); });
            CHECK_MESSAGE(message.starts_with(op.name), message);
            return;
        }
        const Tensor y = op.forward(inputs, c.params);
        CHECK(y.dtype() == inputs[0].dtype());
        std::vector<Array64> arrays;
        for (const Tensor& t : inputs) arrays.push_back(t.defined() ? Array64(t) : Array64());
        const Array64 expected = op.reference(arrays, c.params);
        REQUIRE(y.shape().str() == expected.shape.str());
        const std::vector<double> actual = y.values();
        double scale = 1e-3, worst = 0;
        for (double e : expected.v) scale = std::max(scale, std::isfinite(e) ? std::abs(e) : 0.0);
        for (size_t i = 0; i < actual.size(); ++i) {
            if (actual[i] == expected.v[i]) continue;
            const double error = std::abs(actual[i] - expected.v[i]) / scale;
            if (!(error <= worst)) worst = error;
        }
        CHECK(worst <= 1e-12);
    });
}

TEST_CASE("f64: every op's gradient agrees with central differences beyond float32's last digit") {
    for_each_case([](const Op& op, const OpCase& c) {
        if (!op.has_gradient || in_f32_alone(op.name)) return;
        const TapedOp* taped = derivative(op.name);
        REQUIRE(taped);
        const GradientError worst =
            gradient_check([&](Inputs in) { return (*taped)(in, c.params); },
                           [&](Inputs64 in) { return op.reference(in, c.params); }, in_f64(c.inputs), c.differentiable);
        CAPTURE(worst.input);
        CAPTURE(worst.element);
        CAPTURE(worst.expected);
        CAPTURE(worst.actual);
        CHECK(worst.relative <=
              5e-8);  // the differences are good to about 1e-8; half a digit of float32 is 2^-24, 6e-8
    });
}

TEST_CASE("f64: numbers that models pass to ops are not rounded to float32 on the way") {
    // x = 0, so y is w times 0: eps shows in the gradient, dx = w / sqrt(eps)
    const double eps = 0.1;  // not a float32
    Tensor x = Tensor::zeros({1, 3}, DType::f64);
    const Tensor w = Tensor::full({3}, 1, DType::f64);
    const Tensor dy = Tensor::full({1, 3}, 1, DType::f64);
    const double gradient = kernels::rms_norm_backward_x(dy, x, w, eps).values()[0];
    CHECK(std::abs(gradient * gradient * eps - 1) < 1e-15);
    CHECK(std::abs(gradient * gradient * static_cast<double>(0.1f) - 1) > 1e-9);

    CHECK(scale(Tensor::full({1}, 3, DType::f64), 0.1).item() == 3 * 0.1);

    // scores 0 and 0.3 * 1: the probability of the second key is 1 / (1 + e^-0.3)
    const Tensor q = Tensor::full({1, 1, 1}, 1, DType::f64), k = Tensor::from(std::vector<double>{0, 1}, {2, 1, 1});
    const int64_t one[] = {1}, two[] = {2};
    const AttentionLayout layout{kernels::make_borders(one), kernels::make_borders(two), AttentionMask::full, 0.3};
    CHECK(std::abs(kernels::attention(q, k, k, layout).y.item() - 1 / (1 + std::exp(-0.3))) < 1e-15);
}

TEST_CASE("f64: clamp and add_bias by hand") {
    const double third = 1.0 / 3, below = third - 1e-12, above = third + 1e-12;
    Tensor x = Tensor::from(std::vector<double>{-1, 0.1, below, third, above, INFINITY}, {2, 3});
    set_requires_grad(x);
    const Tensor y = clamp(x, 0.1, third);
    CHECK(y.values() == std::vector<double>{0.1, 0.1, below, third, third, third});
    backward(y, Tensor::full({2, 3}, 2, DType::f64));
    CHECK(grad(x).values() == std::vector<double>{0, 0, 2, 2, 0, 0});
    for (const double v : clamp(Tensor::full({2}, NAN, DType::f64), 0, 3).values()) CHECK(std::isnan(v));
    CHECK_THROWS_AS(clamp(x, third, third), UsageError);

    Tensor rows = Tensor::from(std::vector<double>{1, 2, 3, -4, 0.5, 0}, {2, 3});
    Tensor bias = Tensor::from(std::vector<double>{1e-12, -2, 0.25}, {3});
    set_requires_grad(rows);
    set_requires_grad(bias);
    const Tensor sums = add_bias(rows, bias);
    CHECK(sums.values() == std::vector<double>{1 + 1e-12, 0, 3.25, -4 + 1e-12, -1.5, 0.25});
    backward(sums, Tensor::from(std::vector<double>{1, 2, 3, 10, 20, 30}, {2, 3}));
    CHECK(grad(rows).values() == std::vector<double>{1, 2, 3, 10, 20, 30});
    CHECK(grad(bias).values() == std::vector<double>{11, 22, 33});
    CHECK_THROWS_AS(add_bias(rows, Tensor::zeros({2}, DType::f64)), ShapeError);
}

TEST_CASE("f64: attention refuses what does not fit, as in f32") {
    const auto zeros = [](const Shape& shape) { return Tensor::zeros(shape, DType::f64); };
    const int64_t whole[] = {4}, halves[] = {2, 2};
    const AttentionLayout layout{kernels::make_borders(whole), kernels::make_borders(whole), AttentionMask::full, 1};
    const AttentionLayout other{kernels::make_borders(halves), kernels::make_borders(whole), AttentionMask::full, 1};
    const Tensor q = zeros({4, 2, 3}), k = zeros({4, 1, 3});
    CHECK(kernels::attention(q, k, k, layout).y.dtype() == DType::f64);
    CHECK_THROWS_AS(kernels::attention(q, k, k, other), ShapeError);
    CHECK_THROWS_AS(kernels::attention(q, zeros({4, 1, 5}), zeros({4, 1, 5}), layout), ShapeError);
    CHECK(message_of<DTypeError>([&] {
              kernels::attention(q, k, Tensor::zeros({4, 1, 3}), layout);
          }) == "attention: v must be f64, but is [4, 1, 3] f32");
}

TEST_CASE("f64: an op does not mix dtypes, and names the one that differs") {
    const Tensor x = Tensor::zeros({2, 3}, DType::f64), w = Tensor::zeros({4, 3});
    CHECK(message_of<DTypeError>([&] { kernels::linear(x, w); }) == "linear: weight must be f64, but is [4, 3] f32");
    CHECK(message_of<DTypeError>([&] { kernels::linear(x, PackedWeight::pack(w)); }) ==
          "linear: x must be f32, but is [2, 3] f64");
    CHECK(message_of<DTypeError>([&] { kernels::linear(w, PackedWeight::pack(x)); }) ==
          "linear: x must be f64, but is [4, 3] f32");
}

TEST_CASE("f64: parameters are trained in double") {
    // loss = 3 p^2 with p = 0.5: the gradient is 3, and Adam's first step is lr whatever its size
    Parameters parameters;
    {
        const DTypeScope scope(DType::f64);
        parameters.push_back({"p", constant_parameter({1}, 0.5, "p"), "adapter"});
    }
    Tensor& p = parameters[0].tensor;
    REQUIRE(p.dtype() == DType::f64);
    Optimizer optimizer(parameters, {.adam = {0.9, 0.98, 0, 0}, .clip_norm = 0}, {{{.rate = 0.01}}});
    CHECK(optimizer.first()[0].dtype() == DType::f64);
    const TapedOp* mul = derivative("mul");
    backward(scale((*mul)(std::vector{p, p}, {}), 3));
    CHECK(grad(p).item() == 3);
    const GradientNorms norms = optimizer.norms(0);
    CHECK(norms.total == 3);
    optimizer.update(1, norms);
    CHECK(std::abs(p.item() - 0.49) < 1e-15);  // 0.01 as a float is 2e-10 off
}
