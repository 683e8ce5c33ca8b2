// What training does on devices beside its ops: Adam and the norms of many tensors in one launch, and the tape. Witness: the
// CPU.

#include "kernels/adam/adam.h"
#include "kernels/sum_all/sum_all.h"
#include "tests/ops/device_support.h"

using namespace wavllm;
using namespace wavllm::tests;

TEST_CASE("device training: many parameters in one step of Adam") {
    const SimScope scope(true, 0);
    constexpr int kCount = 70;
    for (const Device device : test_devices()) {
        std::vector<Tensor> cpu[4], there[4];  // parameter, gradient, m, v
        for (int i = 0; i < kCount; ++i)
            for (int k = 0; k < 4; ++k) {
                const Tensor t = k == 3 ? Tensor::full({i % 7, 5}, 0.01 * i) : random({i % 7, 5});
                cpu[k].push_back(t);
                there[k].push_back(t.to(device));
            }
        const auto step = [](std::vector<Tensor>* t) {
            std::vector<kernels::AdamParameter> list;
            for (size_t i = 0; i < kCount; ++i)
                list.push_back({&t[0][i], &t[1][i], &t[2][i], &t[3][i], 0.01f * static_cast<float>(i),
                                static_cast<int64_t>(i) + 1, i % 2 ? 0.1 : 0});
            kernels::adam_steps(list, {}, 0.5f);
        };
        step(cpu);
        step(there);
        for (int k = 0; k < 4; ++k)
            for (size_t i = 0; i < kCount; ++i) CHECK(same_bits(cpu[k][i], there[k][i]));
    }
}

TEST_CASE("device training: the norms of many tensors") {
    const SimScope scope(true, 0);
    for (const Device device : test_devices()) {
        std::vector<Tensor> cpu, there;
        for (int64_t i = 0; i < 150; ++i) {
            cpu.push_back(random({i == 20 ? 9000 : i % 7, 3}));
            there.push_back(cpu.back().to(device));
        }
        std::vector<double> expected(cpu.size()), actual(cpu.size());
        kernels::sums_of_squares(cpu, expected);
        kernels::sums_of_squares(there, actual);
        for (size_t i = 0; i < cpu.size(); ++i) CHECK(actual[i] == doctest::Approx(expected[i]).epsilon(1e-14));
        CHECK(kernels::sum_of_squares(there[20]) == actual[20]);
        CHECK_THROWS_WITH_AS(kernels::sums_of_squares(there, {actual.data(), 3}), doctest::Contains("room for 3"),
                             Error);
    }
}

TEST_CASE("device training: the tape") {
    const SimScope scope(true, 0);
    const Tensor start = random({4, 33});
    const TapedOp &add = *derivative("add"), &mul = *derivative("mul"), &sum = *derivative("sum_all");
    const auto gradients = [&](Device device) {
        Tensor x = start.to(device).clone();
        set_requires_grad(x);
        std::vector<Tensor> result;
        for (int pass = 0; pass < 2; ++pass) {
            const Tensor twice = add(std::vector<Tensor>{x, x}, {});
            const Tensor y = mul(std::vector<Tensor>{add(std::vector<Tensor>{twice, x}, {}), twice}, {});
            backward(sum(std::vector<Tensor>{y}, {}));
            result.push_back(grad(x).clone());
            if (pass == 0) zero_grad(x, true);
        }
        return result;
    };
    const std::vector<Tensor> cpu = gradients(Device::cpu);
    CHECK(same_bits(cpu[0], cpu[1]));
    for (const Device device : test_devices()) {
        const std::vector<Tensor> there = gradients(device);
        for (size_t i = 0; i < 2; ++i) CHECK(same_bits(cpu[i], there[i]));

        const FiniteCheck check;
        const Tensor bad = Tensor::full({3}, INFINITY, DType::f32, device);
        CHECK_THROWS_WITH_AS(add(std::vector<Tensor>{bad, bad}, {}), doctest::Contains("not finite"), TrainingError);
    }
}
