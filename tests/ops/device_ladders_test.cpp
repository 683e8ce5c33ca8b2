// The ladders on devices: every step, from naive to the one in use, computes its op. Witness: the float64 references of the
// ops' cases. What the steps cost is in device_counters_test.cpp.

#include "kernels/attention/on_device.h"
#include "kernels/attention/steps/steps.h"
#include "kernels/common/check.h"
#include "kernels/common/ladder.h"
#include "tests/ops/device_support.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

/// How far a step may be from the reference; negative: this case says nothing about it.
double allowed(const std::string& op, const OpCase& c, const LadderStep& step) {
    if (!step.rounds || op != "attention") return c.tolerance;
    // Attention in bf16 also rounds the scaled q and p on their way (kernels/attention/cases.cpp): not for large scores.
    return c.tolerance > 2e-6 ? -1 : 5 * 0x1p-9;
}

void check_step(const std::string& name, const OpCase& c, const LadderStep& step, Device device) {
    const double tolerance = allowed(name, c, step);
    if (tolerance < 0) return;
    const std::string which = fmt::format("{}, {}: {}", name, c.name, step.name);
    CAPTURE(which);
    std::vector<Tensor> inputs = c.inputs;
    if (step.rounds)
        for (Tensor& t : inputs) t = t.to(DType::bf16).to(DType::f32);
    const Tensor y = step.run(on_device(inputs, device), c.params);
    CHECK(y.device() == device);
    CHECK(difference(y.values(), ops().at(name).reference(to_64(inputs), c.params).v) <= tolerance);
}

}  // namespace

TEST_CASE("device ladders: every step agrees with the op's float64 reference") {
    CHECK(ladders().size() >= 4);
    for (const Device device : test_devices())
        for (const bool checked : {false, true}) {
            if (checked && device != Device::sim) continue;
            const SimScope scope(checked, 2);
            for (const auto& [name, ladder] : ladders()) {
                CHECK(ladder.steps.size() >= 2);
                int taken = 0;
                for (const OpCase& c : ops().at(name).cases) {
                    if (!ladder.takes(c)) continue;
                    ++taken;
                    for (const LadderStep& step : ladder.steps) check_step(name, c, step, device);
                }
                CHECK_MESSAGE(taken > 0, name);
            }
        }
}

TEST_CASE("device ladders: attention's steps leave the log-sum-exp that the way back needs") {
    const SimScope scope(true, 2);
    for (const Device device : test_devices()) {
        const Tensor q = random({40, 4, 24}).to(device), k = random({70, 2, 24}).to(device),
                     v = random({70, 2, 24}).to(device);
        const AttentionLayout layout{kernels::make_borders(std::vector<int64_t>{30, 10}),
                                     kernels::make_borders(std::vector<int64_t>{65, 5}), AttentionMask::causal, 0.3f,
                                     DType::f32};
        const kernels::AttentionForward best = kernels::attention(q, k, v, layout);
        const auto sizes = kernels::detail::attention_sizes("attention", q, k, v, layout);
        const kernels::DeviceAttention a = kernels::detail::describe_attention(q, k, v, layout, sizes);
        for (const auto* body : {&kernels::attention_naive_body, &kernels::attention_online_body}) {
            Tensor y = Tensor::empty({40, 96}, DType::f32, device), lse = Tensor::empty({40, 4}, DType::f32, device);
            kernels::on(*body, device)(a, y.mutable_device_data<float>(), lse.mutable_device_data<float>());
            CHECK(difference(y, best.y) < 2e-6);
            CHECK(difference(lse, best.log_sum_exp) < 2e-6);
        }
    }
}
