// attention, decode_attention, cross_entropy and ctc_loss on the emulator. Witnesses: the float64 references of their
// cases, and the CPU's own bodies.

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/derivative.h"
#include "autograd/ops/attention.h"
#include "autograd/tape.h"
#include "kernels/attention/steps/steps.h"
#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/common/op_case.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/ctc_loss/ctc_loss.h"
#include "kernels/decode_attention/decode_attention.h"
#include "kernels/simt/counters.h"
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

Outcome taped(const std::string& name, const OpCase& c, Device device) {
    std::vector<Tensor> leaves;
    for (size_t i = 0; i < c.inputs.size(); ++i) {
        const Tensor& t = c.inputs[i];
        leaves.push_back(t.dtype() == DType::f32 && device != Device::cpu ? t.to(device) : t.clone());
        if (c.differentiable.empty() ? t.dtype() == DType::f32 : c.differentiable[i]) set_requires_grad(leaves.back());
    }
    Outcome result;
    result.y = (*derivative(name))(leaves, c.params);
    // Losses are made with their gradient; another factor than 1 is kernels::scale, which is not under test here.
    const double dy = name == "ctc_loss" || name == "cross_entropy" ? 1.0 : 0.37;
    backward(result.y, Tensor::full(result.y.shape(), dy, DType::f32, result.y.device()));
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
    const std::vector<double> expected = op.reference(inputs, c.params).v,
                              cpu = op.forward(c.inputs, c.params).values();
    const std::vector<double> sim = op.forward(moved(c.inputs, Device::sim), c.params).values();
    CHECK(difference(sim, expected) <= c.tolerance);
    CHECK(difference(sim, cpu) <= 2 * c.tolerance);  // both may be off, one up and one down
    if (!op.has_gradient) return;
    const Outcome on_cpu = taped(op.name, c, Device::cpu), on_sim = taped(op.name, c, Device::sim);
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

TEST_CASE("attention and losses on sim give the same bits in any order of threads") {
    for (const auto& [name, wanted] : {std::pair{"attention", "ragged, empty and single sequences"},
                                       {"attention", "bf16, ragged, empty and single sequences"},
                                       {"decode_attention", "head dimension 12, grouped"},
                                       {"cross_entropy_logits", "2x1037"},
                                       {"ctc_loss", "repeats"}})
        for (const OpCase& c : ops().at(name).cases) {
            if (c.name != wanted) continue;
            CAPTURE(name);
            std::vector<Tensor> first;
            for (const uint64_t seed : {0, 1, 2, 3, 12345}) {
                const Simulated scope(false, seed);
                std::vector<Tensor> now{ops().at(name).forward(moved(c.inputs, Device::sim), c.params).to(Device::cpu)};
                if (ops().at(name).has_gradient)
                    for (const Tensor& g : taped(name, c, Device::sim).gradients) now.push_back(g);
                if (first.empty()) first = now;
                for (size_t i = 0; i < now.size(); ++i) CHECK(same_bits(now[i], first[i]));
            }
        }
}

namespace {

AttentionLayout layout_of(const std::vector<int64_t>& q, const std::vector<int64_t>& k, DType products = DType::f32) {
    return {kernels::make_borders(q), kernels::make_borders(k), AttentionMask::causal, 0.3f, products};
}

}  // namespace

TEST_CASE("attention on sim: a sequence has the same bits alone and among others") {
    const Simulated scope(false, 1);
    const std::vector<int64_t> queries{5, 1, 70, 0, 131}, keys{5, 40, 97, 2, 131};
    const Tensor q = random({207, 4, 12}), k = random({275, 2, 12}), v = random({275, 2, 12}), dy = random({207, 48});
    for (const DType products : {DType::f32, DType::bf16}) {
        const auto run = [&](int64_t q0, int64_t q1, int64_t k0, int64_t k1, const AttentionLayout& layout) {
            const auto part = [](const Tensor& t, int64_t a, int64_t b) { return t.slice(0, a, b).to(Device::sim); };
            const Tensor sq = part(q, q0, q1), sk = part(k, k0, k1), sv = part(v, k0, k1);
            const kernels::AttentionForward f = kernels::attention(sq, sk, sv, layout);
            const kernels::AttentionGradients g =
                kernels::attention_backward(part(dy, q0, q1), sq, sk, sv, f, layout, true, true);
            return std::vector<Tensor>{f.y.to(Device::cpu), g.dq.to(Device::cpu), g.dk.to(Device::cpu),
                                       g.dv.to(Device::cpu)};
        };
        const std::vector<Tensor> all = run(0, 207, 0, 275, layout_of(queries, keys, products));
        int64_t q0 = 0, k0 = 0;
        for (size_t s = 0; s < queries.size(); ++s) {
            CAPTURE(s);
            const int64_t q1 = q0 + queries[s], k1 = k0 + keys[s];
            const std::vector<Tensor> alone = run(q0, q1, k0, k1, layout_of({queries[s]}, {keys[s]}, products));
            for (size_t i = 0; i < alone.size(); ++i)
                CHECK(same_bits(alone[i], i < 2 ? all[i].slice(0, q0, q1) : all[i].slice(0, k0, k1)));
            q0 = q1;
            k0 = k1;
        }
    }
}

TEST_CASE("attention on sim: the steps to the tile agree with it") {
    const int64_t queries = 40, keys = 70, heads = 4, kv_heads = 2, dh = 24;
    const Tensor q = random({queries, heads, dh}).to(Device::sim), k = random({keys, kv_heads, dh}).to(Device::sim),
                 v = random({keys, kv_heads, dh}).to(Device::sim);
    const AttentionLayout layout = layout_of({30, 10}, {65, 5});
    const Simulated scope(true, 2);
    const kernels::AttentionForward best = kernels::attention(q, k, v, layout);
    const kernels::DeviceAttention a{.q = {q.device_data<float>(), heads * dh, dh},
                                     .k = {k.device_data<float>(), kv_heads * dh, dh},
                                     .v = {v.device_data<float>(), kv_heads * dh, dh},
                                     .q_borders = layout.q_borders.mirror(Device::sim).device_data<int64_t>(),
                                     .k_borders = layout.k_borders.mirror(Device::sim).device_data<int64_t>(),
                                     .sequences = 2,
                                     .heads = heads,
                                     .kv_heads = kv_heads,
                                     .longest_q = 30,
                                     .longest_k = 65,
                                     .dh = static_cast<int>(dh),
                                     .causal = true,
                                     .scale = layout.scale};
    for (const auto* body : {&kernels::attention_naive_body, &kernels::attention_online_body}) {
        Tensor y = Tensor::empty({queries, heads * dh}, DType::f32, Device::sim),
               lse = Tensor::empty({queries, heads}, DType::f32, Device::sim);
        kernels::on(*body, Device::sim)(a, y.mutable_device_data<float>(), lse.mutable_device_data<float>());
        CHECK(difference(y.values(), best.y.values()) < 2e-6);
        CHECK(difference(lse.values(), best.log_sum_exp.values()) < 2e-6);
    }
}

TEST_CASE("attention and losses: tensors on two devices are an error that names one") {
    const Tensor x = random({4, 2, 8}), there = x.to(Device::sim), row = random({4, 16}),
                 row_there = row.to(Device::sim);
    const AttentionLayout layout = layout_of({4}, {4});
    const auto names = [](const char* text) { return doctest::Contains(text); };
    CHECK_THROWS_WITH_AS(kernels::attention(there, x, there, layout), names("attention: k is"), Error);
    CHECK_THROWS_WITH_AS(kernels::attention(x, x, there, layout), names("attention: v is"), Error);
    const kernels::AttentionForward f = kernels::attention(there, there, there, layout);
    CHECK_THROWS_WITH_AS(kernels::attention_backward(row, there, there, there, f, layout, true, true), names("dy is"),
                         Error);
    const Tensor cache = random({4, 3, 2, 8}), lengths = Tensor::from(std::vector<int64_t>{1, 2, 3, 0}, {4});
    CHECK_THROWS_WITH_AS(kernels::decode_attention(there, cache, cache, lengths, 1.0f), names("k_cache is"), Error);
    const Tensor targets = Tensor::from(std::vector<int32_t>{0, 1, 2, 3}, {4});
    CHECK_THROWS_WITH_AS(kernels::cross_entropy_logits_backward(row_there, targets, random({4})), names("dlosses is"),
                         Error);
    CHECK_THROWS_WITH_AS(kernels::ctc_loss(row_there, random({4, 1}), kernels::make_borders(std::vector<int64_t>{4}),
                                           targets, kernels::make_borders(std::vector<int64_t>{4}), 1.0f, false),
                         names("blank_logits is"), Error);
}

TEST_CASE("attention and losses on sim: memory moves in whole sectors and without bank conflicts") {
    const Simulated scope(true, 0);
    simt::Recording recording;
    for (const DType products : {DType::f32, DType::bf16})
        for (const int64_t dh : {64, 128}) {
            const Tensor q = random({70, 2, dh}).to(Device::sim), k = random({70, 1, dh}).to(Device::sim),
                         dy = random({70, 2 * dh}).to(Device::sim);
            const AttentionLayout layout = layout_of({70}, {70}, products);
            const kernels::AttentionForward f = kernels::attention(q, k, k, layout);
            kernels::attention_backward(dy, q, k, k, f, layout, true, true);
        }
    const Tensor cache = random({2, 130, 3, 64}).to(Device::sim);
    kernels::decode_attention(random({2, 9, 64}).to(Device::sim), cache, cache,
                              Tensor::from(std::vector<int64_t>{130, 100}, {2}), 0.1f);
    const Tensor logits = random({3, 5000}).to(Device::sim), ids = random_ids({3}, 5000);
    kernels::cross_entropy_logits(logits, ids);
    kernels::cross_entropy_logits_backward(logits, ids, random({3}).to(Device::sim));
    for (const simt::LaunchReport& r : recording.launches()) {
        CAPTURE(r.kernel);
        CHECK(r.counters.bank_conflicts() == 0);
        CHECK(r.counters.sector_ratio() < 1.06);
    }
}
