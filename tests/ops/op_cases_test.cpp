// Every op's list of cases, three times: against its float64 reference, its gradient against central differences of
// that reference, and with one thread against three. The references stand in kernels/<op>/cases.cpp.

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/derivative.h"
#include "autograd/gradient_check.h"
#include "autograd/tape.h"
#include "kernels/common/op_case.h"
#include "tensor/thread_pool.h"

using namespace wavllm;

namespace {

std::vector<Array64> to_64(Inputs inputs) {
    std::vector<Array64> result;
    for (const Tensor& t : inputs) result.push_back(t.defined() ? Array64(t) : Array64());
    return result;
}

/// One subcase an op: `./dev test -tc='every op*' -sc=NAME` runs that op's cases alone.
template <class F>
void for_each_case(F&& f) {
    for (const auto& [name, op] : ops()) {
        DOCTEST_SUBCASE(name.c_str()) {
            CHECK_MESSAGE(!op.cases.empty(), name, " has no cases");
            for (const OpCase& c : op.cases)
                if (!c.bench) f(op, c);
        }
    }
}

/// Result and gradients of one case, as bytes.
std::string taped_bytes(const TapedOp& taped, const OpCase& c) {
    std::vector<Tensor> leaves;
    for (size_t i = 0; i < c.inputs.size(); ++i) {
        leaves.push_back(c.inputs[i].clone());
        const bool wanted = c.differentiable.empty() ? leaves[i].dtype() == DType::f32 : c.differentiable[i];
        if (wanted) set_requires_grad(leaves[i]);
    }
    const Tensor y = taped(leaves, c.params);
    backward(y, Tensor::full(y.shape(), 0.37));
    std::string bytes(static_cast<const char*>(y.raw()), y.bytes());
    for (const Tensor& t : leaves)
        if (const Tensor g = grad(t); g.defined()) bytes.append(static_cast<const char*>(g.raw()), g.bytes());
    return bytes;
}

}  // namespace

TEST_CASE("every op agrees with its float64 reference") {
    for_each_case([](const Op& op, const OpCase& c) {
        CAPTURE(op.name);
        CAPTURE(c.name);
        const Tensor y = op.forward(c.inputs, c.params);
        const Array64 expected = op.reference(to_64(c.inputs), c.params);
        REQUIRE(y.shape().str() == expected.shape.str());
        const std::vector<double> actual = y.values();
        double scale = 1e-3, worst = 0;
        for (double e : expected.v) scale = std::max(scale, std::isfinite(e) ? std::abs(e) : 0.0);
        for (size_t i = 0; i < actual.size(); ++i) {
            if (actual[i] == expected.v[i]) continue;  // equal infinities
            const double error = std::abs(actual[i] - expected.v[i]) / scale;
            if (!(error <= worst)) worst = error;  // NaN is the worst of all and stays
        }
        CHECK(worst <= c.tolerance);
    });
}

TEST_CASE("every op's gradient agrees with central differences of its float64 reference") {
    for_each_case([](const Op& op, const OpCase& c) {
        if (!op.has_gradient) return;
        CAPTURE(op.name);
        CAPTURE(c.name);
        const TapedOp* taped = derivative(op.name);
        CHECK_MESSAGE(taped, op.name, ": no DERIVATIVE in autograd/ops/");
        if (!taped) return;
        const GradientError worst =
            gradient_check([&](Inputs in) { return (*taped)(in, c.params); },
                           [&](Inputs64 in) { return op.reference(in, c.params); }, c.inputs, c.differentiable);
        CAPTURE(worst.input);
        CAPTURE(worst.element);
        CAPTURE(worst.expected);
        CAPTURE(worst.actual);
        CHECK(worst.relative <= c.gradient_tolerance);
    });
}

TEST_CASE("every op gives the same bits with one and with several threads") {
    const int before = num_threads();
    for_each_case([](const Op& op, const OpCase& c) {
        CAPTURE(op.name);
        CAPTURE(c.name);
        set_num_threads(1);
        const Tensor one = op.forward(c.inputs, c.params);
        set_num_threads(3);
        const Tensor three = op.forward(c.inputs, c.params);
        REQUIRE(one.bytes() == three.bytes());
        CHECK(std::memcmp(one.raw(), three.raw(), one.bytes()) == 0);
        const TapedOp* taped = op.has_gradient ? derivative(op.name) : nullptr;
        if (!taped) return;
        const std::string gradients = taped_bytes(*taped, c);
        set_num_threads(1);
        CHECK(taped_bytes(*taped, c) == gradients);
    });
    set_num_threads(before);
}
