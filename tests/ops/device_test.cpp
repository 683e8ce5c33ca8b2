// Every op's list of cases on every device with CUDA bodies, forward and backward: against float64, against the CPU, and
// the same bits for any order of threads. Witnesses: the float64 references of the cases, and the CPU's bodies.

#include "autograd/gradient_check.h"
#include "kernels/simt/counters.h"
#include "tests/ops/device_support.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

/// Ops without CUDA bodies by design, and why. All others must have them.
const std::map<std::string, std::string> kOnTheCpuAlone = {};

void expect_float64(const Op& op, const OpCase& c, Inputs inputs, const Tensor& y) {
    const Array64 reference = op.reference(to_64(c.inputs), c.params);
    REQUIRE(y.shape().str() == reference.shape.str());
    CHECK(difference(y.values(), reference.v) <= c.tolerance);
    if (!op.has_gradient) return;
    const TapedOp& taped = *derivative(op.name);
    const GradientError worst =
        gradient_check([&](Inputs in) { return taped(in, c.params); },
                       [&](Inputs64 in) { return op.reference(in, c.params); }, inputs, c.differentiable);
    CAPTURE(worst.input);
    CAPTURE(worst.element);
    CAPTURE(worst.expected);
    CAPTURE(worst.actual);
    CHECK(worst.relative <= c.gradient_tolerance);
}

/// Result and gradients, or the result alone.
std::vector<Tensor> results(const Op& op, const OpCase& c, Inputs inputs) {
    if (!op.has_gradient) return {op.forward(inputs, c.params)};
    return forward_and_backward(*derivative(op.name), c, inputs);
}

void expect_cpu(const Op& op, const OpCase& c, const std::vector<Tensor>& on_device,
                const std::vector<Tensor>& on_cpu) {
    REQUIRE(on_device.size() == on_cpu.size());
    for (size_t i = 0; i < on_cpu.size(); ++i) {
        CAPTURE(i);  // 0: the result, then gradients
        REQUIRE(on_device[i].defined() == on_cpu[i].defined());
        if (!on_cpu[i].defined()) continue;
        CHECK(on_device[i].dtype() == on_cpu[i].dtype());
        if (op.same_bits && !c.params.flag("bf16")) CHECK(same_bits(on_device[i], on_cpu[i]));
        // each of the two may be off by a tolerance, one up and one down
        CHECK(difference(on_device[i], on_cpu[i]) <= 2 * (i == 0 ? c.tolerance : c.gradient_tolerance));
    }
}

void expect_any_order(const Op& op, const OpCase& c, Inputs inputs, const std::vector<Tensor>& first) {
    const auto expect_same = [&](const std::vector<Tensor>& now) {
        REQUIRE(now.size() == first.size());
        for (size_t i = 0; i < now.size(); ++i) CHECK(same_bits(now[i], first[i]));
    };
    for (const uint64_t seed : {1, 2, 3, 12345}) {
        CAPTURE(seed);
        const SimScope scope(false, seed);
        expect_same(results(op, c, inputs));
    }
    CAPTURE("every load and store checked");
    const SimScope scope(true, 5);
    expect_same(results(op, c, inputs));
}

}  // namespace

TEST_CASE("device: every op agrees with float64, with the cpu, and with itself in any order of threads") {
    for (const auto& [name, reason] : kOnTheCpuAlone) CHECK_MESSAGE(ops().contains(name), name, " is no op");
    for (const auto& [name, op] : ops()) {
        if (kOnTheCpuAlone.contains(name)) continue;
        DOCTEST_SUBCASE(name.c_str()) {
            if (op.has_gradient)
                REQUIRE_MESSAGE(derivative(name) != nullptr, name, " has no DERIVATIVE in autograd/ops/");
            for (const Device device : test_devices()) {
                const SimScope scope(false, 0);
                const simt::Recording recording;
                for (const OpCase& c : op.cases) {
                    CAPTURE(wavllm::name(device));
                    CAPTURE(name);
                    CAPTURE(c.name);
                    const std::vector<Tensor> inputs = on_device(c.inputs, device);
                    const Tensor y = op.forward(inputs, c.params);
                    // losses and norms are numbers of the host
                    CHECK((y.device() == device || y.numel() == 1));
                    expect_float64(op, c, inputs, y);
                    const std::vector<Tensor> first = results(op, c, inputs);
                    expect_cpu(op, c, first, results(op, c, c.inputs));
                    if (device == Device::sim) expect_any_order(op, c, inputs, first);
                }
                if (device == Device::sim)
                    CHECK_MESSAGE(!recording.launches().empty(), name,
                                  " launched no kernel on sim: has it a CUDA body?");
            }
        }
    }
}
