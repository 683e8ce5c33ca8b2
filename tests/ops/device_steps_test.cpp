// The steps of the ladders: each computes what the last one does. Their counters are in device_counters_test.cpp.

#include "autograd/ops/attention.h"
#include "kernels/attention/steps/steps.h"
#include "kernels/common/check.h"
#include "kernels/contiguous/contiguous_body.h"
#include "kernels/gemm/steps/steps.h"
#include "kernels/matmul/matmul.h"
#include "kernels/softmax/softmax.h"
#include "kernels/softmax/softmax_body.h"
#include "tests/ops/device_support.h"

using namespace wavllm;
using namespace wavllm::tests;

TEST_CASE("device steps: softmax") {
    const SimScope scope(true, 1);
    for (const Device device : test_devices()) {
        const Tensor x = random({5, 70}).to(device), best = kernels::softmax(x);
        for (const auto* body : {&kernels::softmax_naive_body, &kernels::softmax_better_body}) {
            Tensor y = Tensor::empty(x.shape(), DType::f32, device);
            kernels::on(*body, device)(x.device_data<float>(), y.mutable_device_data<float>(), 5, 70);
            CHECK(difference(y, best) <= 1e-6);
        }
    }
}

TEST_CASE("device steps: copies of views") {
    const SimScope scope(true, 1);
    for (const Device device : test_devices()) {
        const Tensor x = random({3, 40, 37}).to(device);
        Tensor y = Tensor::empty({37, 40, 3}, DType::f32, device);
        kernels::on(kernels::contiguous_naive_body, device)(
            x.device_raw(), {.rank = 3, .size = {37, 40, 3}, .stride = {1, 37, 40 * 37}}, 4, y.mutable_device_raw());
        CHECK(same_bits(y, x.transpose(0, 2).to_contiguous()));
    }
}

TEST_CASE("device steps: products") {
    const Tensor a = random({70, 96}).to(DType::bf16).to(DType::f32),
                 b = random({96, 72}).to(DType::bf16).to(DType::f32);
    const Tensor expected = kernels::matmul(a, b);
    for (const Device device : test_devices())
        for (const bool checked : {false, true}) {
            const SimScope scope(checked, 2);
            for (const kernels::GemmStep step : kernels::gemm_steps()) {
                const std::string which = step.name;
                CAPTURE(which);
                Tensor c = Tensor::empty({70, 72}, DType::f32, device);
                const Tensor left = a.to(device), right = b.to(device);
                kernels::on(*step.body, device)(left.device_data<float>(), right.device_data<float>(),
                                                c.mutable_device_data<float>(), 70, 72, 96);
                CHECK(difference(c, expected) <= 1e-6);
            }
        }
}

TEST_CASE("device steps: attention") {
    const SimScope scope(true, 2);
    const int64_t queries = 40, keys = 70, heads = 4, kv_heads = 2, dh = 24;
    for (const Device device : test_devices()) {
        const Tensor q = random({queries, heads, dh}).to(device), k = random({keys, kv_heads, dh}).to(device),
                     v = random({keys, kv_heads, dh}).to(device);
        const AttentionLayout layout{kernels::make_borders(std::vector<int64_t>{30, 10}),
                                     kernels::make_borders(std::vector<int64_t>{65, 5}), AttentionMask::causal, 0.3f,
                                     DType::f32};
        const kernels::AttentionForward best = kernels::attention(q, k, v, layout);
        const kernels::DeviceAttention a{.q = {q.device_data<float>(), heads * dh, dh},
                                         .k = {k.device_data<float>(), kv_heads * dh, dh},
                                         .v = {v.device_data<float>(), kv_heads * dh, dh},
                                         .q_borders = layout.q_borders.mirror(device).device_data<int64_t>(),
                                         .k_borders = layout.k_borders.mirror(device).device_data<int64_t>(),
                                         .sequences = 2,
                                         .heads = heads,
                                         .kv_heads = kv_heads,
                                         .longest_q = 30,
                                         .longest_k = 65,
                                         .dh = static_cast<int>(dh),
                                         .causal = true,
                                         .scale = layout.scale};
        for (const auto* body : {&kernels::attention_naive_body, &kernels::attention_online_body}) {
            Tensor y = Tensor::empty({queries, heads * dh}, DType::f32, device),
                   lse = Tensor::empty({queries, heads}, DType::f32, device);
            kernels::on(*body, device)(a, y.mutable_device_data<float>(), lse.mutable_device_data<float>());
            CHECK(difference(y, best.y) < 2e-6);
            CHECK(difference(lse, best.log_sum_exp) < 2e-6);
        }
    }
}
