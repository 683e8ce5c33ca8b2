// attention, decode_attention, cross_entropy and ctc_loss on the emulator. Witnesses: the float64 references of their
// cases, and the CPU's own bodies.

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/derivative.h"
#include "autograd/ops/attention.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/common/op_case.h"
#include "kernels/simt/emulator.h"

using namespace wavllm;

namespace {

constexpr const char* kOps[] = {"attention", "decode_attention", "cross_entropy_logits", "ctc_loss"};

/// Which build of the bodies `sim` runs, and in which order of threads.
class Simulated {
public:
    Simulated(bool checked, uint64_t seed) : checked_(kernels::sim_checked()), seed_(simt::seed()) {
        kernels::set_sim_checked(checked);
        simt::set_seed(seed);
    }
    ~Simulated() {
        kernels::set_sim_checked(checked_);
        simt::set_seed(seed_);
    }
    Simulated(const Simulated&) = delete;
    Simulated& operator=(const Simulated&) = delete;

private:
    bool checked_;
    uint64_t seed_;
};

/// What kernels work on goes to the device; ids stay, as the contracts say.
std::vector<Tensor> moved(const std::vector<Tensor>& inputs, Device device) {
    std::vector<Tensor> result;
    for (const Tensor& t : inputs) result.push_back(t.defined() && t.dtype() == DType::f32 ? t.to(device) : t);
    return result;
}

struct Outcome {
    Tensor y;
    std::vector<Tensor> gradients;  ///< on the CPU; undefined where there is none
};

Outcome taped(const TapedOp& op, const OpCase& c, Device device) {
    std::vector<Tensor> leaves;
    for (size_t i = 0; i < c.inputs.size(); ++i) {
        const Tensor& t = c.inputs[i];
        leaves.push_back(t.dtype() == DType::f32 && device != Device::cpu ? t.to(device) : t.clone());
        if (c.differentiable.empty() ? t.dtype() == DType::f32 : c.differentiable[i]) set_requires_grad(leaves.back());
    }
    Outcome result;
    result.y = op(leaves, c.params);
    backward(result.y, Tensor::full(result.y.shape(), 0.37, DType::f32, result.y.device()));
    result.y = result.y.detach().to(Device::cpu);
    for (const Tensor& t : leaves) {
        const Tensor g = grad(t);
        if (g.defined() && t.device() == device) CHECK(g.device() == device);
        result.gradients.push_back(g.defined() ? g.to(Device::cpu) : Tensor());
    }
    return result;
}

/// Largest difference, as a part of the largest expected value (or of 1e-3 if that is larger).
double difference(const std::vector<double>& actual, const std::vector<double>& expected) {
    REQUIRE(actual.size() == expected.size());
    double scale = 1e-3, worst = 0;
    for (double e : expected) scale = std::max(scale, std::isfinite(e) ? std::abs(e) : 0.0);
    for (size_t i = 0; i < actual.size(); ++i) {
        if (actual[i] == expected[i]) continue;
        const double error = std::abs(actual[i] - expected[i]) / scale;
        if (!(error <= worst)) worst = error;
    }
    return worst;
}

bool same_bits(const Tensor& a, const Tensor& b) {
    if (!a.defined() || !b.defined()) return a.defined() == b.defined();
    const Tensor x = a.to(Device::cpu).to_contiguous(), y = b.to(Device::cpu).to_contiguous();
    return x.shape() == y.shape() && std::memcmp(x.raw(), y.raw(), x.bytes()) == 0;
}

void check_case(const Op& op, const OpCase& c) {
    CAPTURE(op.name);
    CAPTURE(c.name);
    std::vector<Array64> inputs;
    for (const Tensor& t : c.inputs) inputs.emplace_back(t);
    const std::vector<double> expected = op.reference(inputs, c.params).v, cpu = op.forward(c.inputs, c.params).values();
    const std::vector<double> sim = op.forward(moved(c.inputs, Device::sim), c.params).values();
    CHECK(difference(sim, expected) <= c.tolerance);
    CHECK(difference(sim, cpu) <= 2 * c.tolerance);  // both may be off, one up and one down
    if (!op.has_gradient) return;
    const Outcome on_cpu = taped(*derivative(op.name), c, Device::cpu), on_sim = taped(*derivative(op.name), c, Device::sim);
    for (size_t i = 0; i < on_cpu.gradients.size(); ++i) {
        CAPTURE(i);
        REQUIRE(on_cpu.gradients[i].defined() == on_sim.gradients[i].defined());
        if (!on_cpu.gradients[i].defined()) continue;
        CHECK(difference(on_sim.gradients[i].values(), on_cpu.gradients[i].values()) <= 2 * c.gradient_tolerance);
    }
}

}  // namespace

TEST_CASE("attention and losses on sim agree with float64 and with the CPU") {
    for (const char* name : kOps) {
        DOCTEST_SUBCASE(name) {
            for (const bool checked : {false, true}) {
                const Simulated scope(checked, 1);
                CAPTURE(checked);
                for (const OpCase& c : ops().at(name).cases) check_case(ops().at(name), c);
            }
        }
    }
}
