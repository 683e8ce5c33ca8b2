// The ladders: every step, from naive to the one in use, computes its op. Witness: the float64 references of the ops' cases.

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/common/ladder.h"
#include "kernels/common/on_device.h"

using namespace wavllm;

namespace {

double worst(const std::vector<double>& actual, const std::vector<double>& expected) {
    if (actual.size() != expected.size()) return INFINITY;
    double scale = 1e-3, error = 0;
    for (const double e : expected) scale = std::max(scale, std::isfinite(e) ? std::abs(e) : 0.0);
    for (size_t i = 0; i < actual.size(); ++i) {
        if (actual[i] == expected[i]) continue;
        const double d = std::abs(actual[i] - expected[i]) / scale;
        if (!(d <= error)) error = d;
    }
    return error;
}

}  // namespace

TEST_CASE("ladders: every step agrees with the op's float64 reference") {
    CHECK(ladders().size() >= 4);
    const bool before = kernels::sim_checked();
    for (const bool checked : {false, true}) {
        kernels::set_sim_checked(checked);
        for (const auto& [name, ladder] : ladders()) {
            const Op& op = ops().at(name);
            CHECK(ladder.steps.size() >= 2);
            int taken = 0;
            for (const OpCase& c : op.cases) {
                if (!ladder.takes(c)) continue;
                ++taken;
                for (const LadderStep& step : ladder.steps) {
                    const std::string which = fmt::format("{}, {}: {}", name, c.name, step.name);
                    CAPTURE(which);
                    CAPTURE(checked);
                    std::vector<Tensor> inputs;
                    std::vector<Array64> reference;
                    for (const Tensor& t : c.inputs) {
                        const Tensor x = step.rounds ? t.to(DType::bf16).to(DType::f32) : t;
                        inputs.push_back(x.to(Device::sim));
                        reference.emplace_back(x);
                    }
                    // Attention's step in bf16 also rounds the scaled q and p on their way: kernels/attention/cases.cpp
                    const double allowed = step.rounds && name == "attention" ? 5 * 0x1p-9 : c.tolerance;
                    CHECK(worst(step.run(inputs, c.params).values(), op.reference(reference, c.params).v) <= allowed);
                }
            }
            CHECK_MESSAGE(taken > 0, name);
        }
    }
    kernels::set_sim_checked(before);
}
