// The products and what is made of them (matmul, linear, lora_linear, conv1d, log_mel) on Device::sim. Witnesses: the
// float64 references of the ops' cases, and the CPU's results.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/common/on_device.h"
#include "kernels/common/op_case.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/gemm/steps/steps.h"
#include "kernels/linear/linear.h"
#include "kernels/log_mel/log_mel.h"
#include "kernels/lora_linear/lora_linear.h"
#include "kernels/matmul/matmul.h"
#include "kernels/simt/counters.h"
#include "kernels/simt/emulator.h"

using namespace wavllm;

namespace {

constexpr const char* kOps[] = {"matmul", "linear", "lora_linear", "conv1d", "log_mel"};

/// Seed and build of the emulator for the length of a scope.
class SimScope {
public:
    SimScope(bool checked, uint64_t seed) : seed_(simt::seed()), checked_(kernels::sim_checked()) {
        simt::set_seed(seed);
        kernels::set_sim_checked(checked);
    }
    ~SimScope() {
        simt::set_seed(seed_);
        kernels::set_sim_checked(checked_);
    }

private:
    uint64_t seed_;
    bool checked_;
};

std::vector<Tensor> on_sim(Inputs inputs) {
    std::vector<Tensor> moved;
    for (const Tensor& t : inputs) moved.push_back(t.detach().to(Device::sim));
    return moved;
}

/// Largest difference as a fraction of the largest expected value; NaN is the worst of all.
double worst(const std::vector<double>& actual, const std::vector<double>& expected) {
    if (actual.size() != expected.size()) return INFINITY;
    double scale = 1e-3, error = 0;
    for (double e : expected) scale = std::max(scale, std::abs(e));
    for (size_t i = 0; i < actual.size(); ++i) {
        const double d = std::abs(actual[i] - expected[i]) / scale;
        if (!(d <= error)) error = d;
    }
    return error;
}

/// The result and the gradients of a case, on the device of its inputs.
std::vector<std::vector<double>> taped_values(const TapedOp& taped, const OpCase& c, std::vector<Tensor> leaves) {
    for (size_t i = 0; i < leaves.size(); ++i)
        if (c.differentiable.empty() ? leaves[i].dtype() == DType::f32 : c.differentiable[i])
            set_requires_grad(leaves[i]);
    const Tensor y = taped(leaves, c.params);
    std::vector<float> dy(static_cast<size_t>(y.numel()));
    for (size_t i = 0; i < dy.size(); ++i) dy[i] = static_cast<float>(std::sin(1.7 * static_cast<double>(i)));
    backward(y, Tensor::from(dy, y.shape()).to(y.device()));
    std::vector<std::vector<double>> all{y.detach().values()};
    for (const Tensor& t : leaves)
        if (requires_grad(t)) all.push_back(grad(t).values());
    return all;
}

template <class F>
void each_case(F&& f) {
    for (const char* name : kOps)
        for (const OpCase& c : ops().at(name).cases) {
            const std::string which = fmt::format("{}: {}", name, c.name);
            CAPTURE(which);
            f(ops().at(name), c);
        }
}

/// In f32 a chain has the CPU's steps; in bf16 only the order of LoRA's update differs (log_mel: log10f).
double agreement(const Op& op, const OpCase& c) {
    return op.name == "log_mel" ? 1e-6 : c.params.flag("bf16") ? c.gradient_tolerance : 2e-6;
}

/// A weight of blocks with all kinds of q.
Tensor in_blocks_of(DType dtype, int64_t n, int64_t k) {
    Tensor w = Tensor::empty({n, k}, dtype);
    auto* bytes = static_cast<uint8_t*>(w.mutable_raw());
    const size_t block = static_cast<size_t>(info(dtype).block_bytes);
    for (size_t i = 0; i < w.bytes(); ++i) bytes[i] = static_cast<uint8_t>((i * 37 + i / 7 * 11) % 251);
    for (size_t b = 0; b < w.bytes(); b += block) {
        const f16 d = to_f16(0.01f + 0.001f * static_cast<float>(b / block % 13)), m = to_f16(-0.07f);
        std::memcpy(bytes + b, &d, 2);
        if (dtype == DType::q4_1) std::memcpy(bytes + b + 2, &m, 2);
    }
    return w;
}

}  // namespace

TEST_CASE("products on sim agree with float64 and with the CPU, forward and backward") {
    for (const bool checked : {false, true}) {
        const SimScope scope(checked, 3);
        each_case([&](const Op& op, const OpCase& c) {
            CAPTURE(checked);
            std::vector<Array64> in64;
            for (const Tensor& t : c.inputs) in64.emplace_back(t);
            const std::vector<double> y = op.forward(on_sim(c.inputs), c.params).values();
            CHECK(worst(y, op.reference(in64, c.params).v) <= c.tolerance);
            const double against_cpu = worst(y, op.forward(c.inputs, c.params).values());
            CHECK(against_cpu <= (c.params.flag("bf16") ? 1e-5 + c.tolerance : op.name == "log_mel" ? 1e-6 : 0.0));
            const TapedOp* taped = op.has_gradient ? derivative(op.name) : nullptr;
            if (!taped) return;
            std::vector<Tensor> copies;
            for (const Tensor& t : c.inputs) copies.push_back(t.clone());
            const auto cpu = taped_values(*taped, c, copies), sim = taped_values(*taped, c, on_sim(c.inputs));
            REQUIRE(cpu.size() == sim.size());
            for (size_t i = 0; i < cpu.size(); ++i) {
                CAPTURE(i);
                CHECK(worst(sim[i], cpu[i]) <= agreement(op, c));
            }
        });
    }
}

TEST_CASE("products on sim do not depend on the order of threads") {
    each_case([](const Op& op, const OpCase& c) {
        if (c.inputs[0].numel() > 2000) return;
        std::vector<double> first;
        for (const uint64_t seed : {0, 1, 2, 3, 12345}) {
            const SimScope scope(seed % 2 == 1, seed);
            const std::vector<double> y = op.forward(on_sim(c.inputs), c.params).values();
            if (first.empty()) first = y;
            CHECK(y == first);
        }
    });
}

TEST_CASE("a row's bits on sim do not depend on how many rows there are") {
    const SimScope scope(false, 0);
    const Tensor w = random({72, 96}, 0.1), x = random({150, 96});
    for (const DType dtype : {DType::f32, DType::bf16}) {
        const PackedWeight packed = PackedWeight::pack(w, dtype, Device::sim);
        const auto all = kernels::linear(x.to(Device::sim), packed).values();
        for (const int64_t rows : {1, 16, 17, 65, 130}) {  // tiles of 16, 64 and 128 rows
            const auto some = kernels::linear(x.slice(0, 0, rows).to_contiguous().to(Device::sim), packed).values();
            CHECK(std::equal(some.begin(), some.end(), all.begin()));
        }
    }
}

TEST_CASE("a weight's gradient on sim may be summed in pieces") {
    const SimScope scope(false, 0);
    const Tensor x = random({70, 24}).to(Device::sim), dy = random({70, 36}).to(Device::sim);
    for (const DType products : {DType::f32, DType::bf16}) {
        Tensor whole = Tensor::zeros({24, 36}, DType::f32, Device::sim), pieces = whole.clone();
        kernels::matmul_backward_b(dy, x, false, whole, products);
        for (const auto& [begin, end] : {std::pair{0, 32}, std::pair{32, 48}, std::pair{48, 70}})
            kernels::matmul_backward_b(dy.slice(0, begin, end), x.slice(0, begin, end), false, pieces, products);
        CHECK(pieces.values() == whole.values());
    }
}

TEST_CASE("weights in blocks are multiplied on sim as if they had been rounded to bf16") {
    for (const bool checked : {false, true}) {
        const SimScope scope(checked, 1);
        for (const DType dtype : {DType::q4_1, DType::q8_0})
            for (const int64_t k : {32, 96, 192, 256}) {
                const std::string which(name(dtype));
                CAPTURE(which);
                CAPTURE(k);
                const int64_t n = 70;
                const Tensor w = in_blocks_of(dtype, n, k);
                const PackedWeight blocks = PackedWeight::pack(w, DType::bf16, Device::sim),
                                   plain = PackedWeight::pack(w.to(DType::f32), DType::bf16, Device::sim);
                CHECK(blocks.storage() == dtype);
                for (const int64_t rows : {1, 40}) {
                    const Tensor x = random({rows, k}).to(Device::sim), dy = random({rows, n}).to(Device::sim);
                    CHECK(kernels::linear(x, blocks).values() == kernels::linear(x, plain).values());
                    CHECK(kernels::linear_backward_x(dy, blocks).values() ==
                          kernels::linear_backward_x(dy, plain).values());
                }
                CHECK(worst(kernels::linear(random({3, k}).to(Device::sim), w.to(Device::sim)).values(),
                            std::vector<double>(static_cast<size_t>(3 * n))) > 0);
            }
    }
}

TEST_CASE("large products use the large tiles and give the same") {
    const SimScope scope(true, 4);
    const Tensor a = random({1030, 64}), b = random({64, 1032});
    const Tensor sa = a.to(Device::sim), sb = b.to(Device::sim);
    CHECK(kernels::matmul(sa, sb).values() == kernels::matmul(a, b).values());
    CHECK(worst(kernels::matmul(sa, sb, false, DType::bf16).values(),
                kernels::matmul(a, b, false, DType::bf16).values()) <= 1e-6);
    for (const DType products : {DType::f32, DType::bf16}) {
        Tensor db = Tensor::zeros({64, 1032}), sdb = db.to(Device::sim);
        const Tensor dc = random({1030, 1032});
        kernels::matmul_backward_b(dc, a, false, db, products);
        kernels::matmul_backward_b(dc.to(Device::sim), sa, false, sdb, products);
        CHECK(worst(sdb.values(), db.values()) <= 1e-6);
    }
    for (const DType dtype : {DType::q4_1, DType::q8_0}) {
        const Tensor w = in_blocks_of(dtype, 1032, 64), back = in_blocks_of(dtype, 64, 1056);
        const auto in_bf16 = [](const Tensor& t) {
            return PackedWeight::pack(t.to(DType::f32), DType::bf16, Device::sim);
        };
        CHECK(kernels::linear(sa, PackedWeight::pack(w, DType::bf16, Device::sim)).values() ==
              kernels::linear(sa, in_bf16(w)).values());
        CHECK(kernels::linear_backward_x(sa, PackedWeight::pack(back, DType::bf16, Device::sim)).values() ==
              kernels::linear_backward_x(sa, in_bf16(back)).values());
    }
}

TEST_CASE("the steps to a fast product all give the same") {
    for (const bool checked : {false, true}) {
        const SimScope scope(checked, 2);
        const Tensor a = random({70, 96}).to(DType::bf16).to(DType::f32),
                     b = random({96, 72}).to(DType::bf16).to(DType::f32);
        const auto expected = kernels::matmul(a, b).values();
        for (const kernels::GemmStep step : kernels::gemm_steps()) {
            const std::string which = step.name;
            CAPTURE(which);
            Tensor c = Tensor::empty({70, 72}, DType::f32, Device::sim);
            const Tensor left = a.to(Device::sim), right = b.to(Device::sim);
            kernels::on(*step.body, Device::sim)(left.device_data<float>(), right.device_data<float>(),
                                                 c.mutable_device_data<float>(), 70, 72, 96);
            CHECK(worst(c.values(), expected) <= 1e-6);
        }
    }
}

TEST_CASE("products on sim refuse tensors of different devices") {
    const Tensor x = random({3, 8}), w = random({5, 8}), a = random({8, 2}), b = random({2, 5});
    const Tensor sx = x.to(Device::sim), sw = w.to(Device::sim);
    CHECK_THROWS_WITH_AS(kernels::matmul(sx, w, true), doctest::Contains("matmul: b is [5, 8] f32, but must be on sim"),
                         Error);
    CHECK_THROWS_WITH_AS(kernels::linear(sx, w), doctest::Contains("must be on sim"), Error);
    CHECK_THROWS_WITH_AS(kernels::linear(sx, PackedWeight::pack(w)),
                         doctest::Contains("pack the weight for that device"), Error);
    CHECK_THROWS_WITH_AS(kernels::linear(x, PackedWeight::pack(sw)),
                         doctest::Contains("pack the weight for that device"), Error);
    CHECK_THROWS_WITH_AS(kernels::linear(sx, sw, random({5})), doctest::Contains("bias"), Error);
    CHECK_THROWS_WITH_AS(kernels::lora_linear(sx, PackedWeight::pack(sw), a, b.to(Device::sim), {}, nullptr),
                         doctest::Contains("lora_a"), Error);
    CHECK_THROWS_WITH_AS(kernels::log_mel(random({800}).to(Device::sim), kernels::make_mel_filters(80), 5),
                         doctest::Contains("mel_filters"), Error);
}

TEST_CASE("products on sim have no bank conflicts, and move whole sectors") {
    const SimScope scope(true, 0);
    const Tensor x = random({256, 256}).to(Device::sim), row = random({1, 256}).to(Device::sim), w = random({256, 256});
    const PackedWeight f32 = PackedWeight::pack(w, DType::f32, Device::sim),
                       bf16 = PackedWeight::pack(w, DType::bf16, Device::sim);
    Tensor dw = Tensor::zeros({256, 256}, DType::f32, Device::sim);
    const simt::Recording recording;
    for (const Tensor& left : {x, row})
        for (const PackedWeight* right : {&f32, &bf16}) {
            kernels::linear(left, *right);
            kernels::linear_backward_x(left, *right);
        }
    for (const DType products : {DType::f32, DType::bf16}) kernels::matmul_backward_b(x, x, false, dw, products);
    const size_t plain = recording.launches().size();
    // Lines of blocks begin anywhere in a sector, and a slice of one is 40 bytes or 68: their sectors are not all whole.
    for (const DType dtype : {DType::q4_1, DType::q8_0}) {
        const PackedWeight blocks = PackedWeight::pack(in_blocks_of(dtype, 256, 256), DType::bf16, Device::sim);
        kernels::linear(x, blocks);
        kernels::linear(row, blocks);
        kernels::linear_backward_x(x, blocks);
    }
    for (size_t i = 0; i < recording.launches().size(); ++i) {
        const simt::LaunchReport& l = recording.launches()[i];
        CAPTURE(i);
        CAPTURE(l.kernel);
        CHECK(l.counters.bank_conflicts() == 0);
        CHECK(l.counters.sector_ratio() <= (i < plain ? 1.05 : 1.3));
    }
}
