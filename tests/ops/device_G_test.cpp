// The CUDA bodies on the emulator, in both of its builds: every case of these ops' lists against float64 and against the
// CPU, forward and backward; the same bits for any order of threads; counters; errors.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <set>

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/adam/adam.h"
#include "kernels/add/add.h"
#include "kernels/cast/cast.h"
#include "kernels/common/on_device.h"
#include "kernels/common/op_case.h"
#include "kernels/contiguous/contiguous_body.h"
#include "kernels/dropout/dropout.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gelu/gelu.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/rope/rope.h"
#include "kernels/rows/rows.h"
#include "kernels/silu_mul/silu_mul.h"
#include "kernels/simt/counters.h"
#include "kernels/simt/emulator.h"
#include "kernels/softmax/softmax.h"
#include "kernels/softmax/softmax_body.h"
#include "kernels/sum_all/sum_all.h"
#include "tensor/error.h"

using namespace wavllm;

namespace {

/// Element by element, the device computes what the CPU does: the same bits, backward too.
const std::set<std::string> kSameBits = {"adam",        "add",           "cast",        "concat_columns",
                                         "concat_rows", "contiguous",    "dropout",     "embedding",
                                         "gelu",        "gather_rows",   "glu",         "mul",
                                         "rope",        "scale",         "sigmoid",     "silu",
                                         "silu_mul",    "slice_columns", "splice_rows", "embedding_frozen"};
const std::set<std::string> kReductions = {"layer_norm", "rms_norm", "scalar_mul",     "segment_scale",
                                           "softmax",    "sum_all",  "sum_of_squares", "weighted_sum"};

struct Checked {
    explicit Checked(bool on) : before(kernels::sim_checked()) {
        kernels::set_sim_checked(on);
    }
    ~Checked() {
        kernels::set_sim_checked(before);
        simt::set_seed(0);
    }
    bool before;
};

/// Plans (ids, borders, positions) stay on the CPU, as everywhere.
std::vector<Tensor> on_sim(Inputs inputs, bool all) {
    std::vector<Tensor> result;
    for (const Tensor& t : inputs)
        result.push_back(t.defined() && (all || info(t.dtype()).floating) ? t.to(Device::sim) : t);
    return result;
}

std::vector<Array64> to_64(Inputs inputs) {
    std::vector<Array64> result;
    for (const Tensor& t : inputs) result.push_back(t.defined() ? Array64(t) : Array64());
    return result;
}

/// The largest difference, as a fraction of the largest value (or of 1e-3). NaN where only one side is NaN.
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
    const Tensor x = a.to(Device::cpu), y = b.to(Device::cpu);
    return x.bytes() == y.bytes() && std::memcmp(x.raw(), y.raw(), x.bytes()) == 0;
}

/// The result and then the gradients of a case whose inputs are on one device.
std::vector<Tensor> gradients(const TapedOp& taped, const OpCase& c, const std::vector<Tensor>& inputs) {
    std::vector<Tensor> leaves;
    for (size_t i = 0; i < inputs.size(); ++i) {
        leaves.push_back(inputs[i].clone());
        if (c.differentiable.empty() ? leaves[i].dtype() == DType::f32 : c.differentiable[i])
            set_requires_grad(leaves[i]);
    }
    const Tensor y = taped(leaves, c.params);
    const Philox rng(7, "device test", 0);
    Tensor dy = Tensor::empty(y.shape());
    for (int64_t i = 0; i < dy.numel(); ++i) dy.mutable_data<float>()[i] = rng.normal(static_cast<uint64_t>(i));
    backward(y, dy.to(y.device()));
    std::vector<Tensor> result{y.detach()};
    for (const Tensor& t : leaves) {
        const Tensor g = grad(t);
        if (!g.defined()) continue;
        CHECK(g.device() == t.device());
        result.push_back(g);
    }
    return result;
}

template <class F>
void for_each_case(F&& f) {
    for (const auto& [name, op] : ops()) {
        if (!kSameBits.contains(name) && !kReductions.contains(name)) continue;
        DOCTEST_SUBCASE(name.c_str()) {
            for (const OpCase& c : op.cases) {
                CAPTURE(name);
                CAPTURE(c.name);
                f(op, c, on_sim(c.inputs, name == "contiguous"));
            }
        }
    }
}

void expect_right(const Op& op, const OpCase& c, const std::vector<Tensor>& inputs) {
    const Tensor y = op.forward(inputs, c.params), cpu = op.forward(c.inputs, c.params);
    const Array64 reference = op.reference(to_64(c.inputs), c.params);
    REQUIRE(y.shape().str() == reference.shape.str());
    CHECK(y.dtype() == cpu.dtype());
    if (op.name != "sum_of_squares") CHECK(y.device() == Device::sim);
    CHECK(difference(y.values(), reference.v) <= c.tolerance);
    CHECK(difference(y.values(), cpu.values()) <= 2 * c.tolerance);  // each is off by at most one of them
    if (kSameBits.contains(op.name)) CHECK(same_bits(y, cpu));
    const TapedOp* taped = op.has_gradient ? derivative(op.name) : nullptr;
    if (!taped) return;
    const std::vector<Tensor> on_cpu = gradients(*taped, c, c.inputs), on_device = gradients(*taped, c, inputs);
    REQUIRE(on_device.size() == on_cpu.size());
    for (size_t i = 0; i < on_cpu.size(); ++i) {
        CAPTURE(i);
        CHECK(difference(on_device[i].values(), on_cpu[i].values()) <= c.gradient_tolerance);
        if (kSameBits.contains(op.name)) CHECK(same_bits(on_device[i], on_cpu[i]));
    }
}

}  // namespace

TEST_CASE("device sim: ops agree with float64 and with the cpu") {
    const Checked mode(false);
    for_each_case(expect_right);
}

TEST_CASE("device sim: ops agree with float64 and with the cpu, every load and store checked") {
    const Checked mode(true);
    for_each_case(expect_right);
}

TEST_CASE("device sim: ops give the same bits for any order of threads, checked and not") {
    for_each_case([](const Op& op, const OpCase& c, const std::vector<Tensor>& inputs) {
        const TapedOp* taped = op.has_gradient ? derivative(op.name) : nullptr;
        const auto results = [&] {
            return taped ? gradients(*taped, c, inputs) : std::vector<Tensor>{op.forward(inputs, c.params)};
        };
        std::vector<Tensor> first;
        for (uint64_t seed = 0; seed < 5; ++seed) {
            const Checked mode(seed % 2 == 1);
            simt::set_seed(seed);
            const std::vector<Tensor> now = results();
            if (first.empty()) first = now;
            for (size_t i = 0; i < now.size(); ++i) CHECK(same_bits(now[i], first[i]));
        }
    });
}

TEST_CASE("device sim: views that start anywhere, and rows longer than a warp takes") {
    const Checked mode(true);
    simt::set_seed(3);
    const Tensor there = random({1, 121}).to(Device::sim).slice(1, 1, 121).reshape({3, 40});
    const Tensor here = there.to(Device::cpu);
    CHECK(same_bits(kernels::gelu(there), kernels::gelu(here)));
    CHECK(same_bits(kernels::silu_mul(there), kernels::silu_mul(here)));
    CHECK(same_bits(kernels::add(there, there), kernels::add(here, here)));
    CHECK(difference(kernels::softmax(there).values(), kernels::softmax(here).values()) < 2e-6);

    for (const int64_t d : {1028, 3001}) {
        const Tensor x = random({3, d}, 2, 1), w = random({d}), b = random({d}), dy = random({3, d});
        const Tensor sx = x.to(Device::sim), sw = w.to(Device::sim), sb = b.to(Device::sim), sdy = dy.to(Device::sim);
        const Tensor y = kernels::softmax(x);
        CHECK(difference(kernels::softmax(sx).values(), y.values()) < 2e-6);
        CHECK(difference(kernels::softmax_backward(sdy, y.to(Device::sim)).values(),
                         kernels::softmax_backward(dy, y).values()) < 1e-5);
        CHECK(difference(kernels::layer_norm(sx, sw, sb, 1e-5f).values(),
                         kernels::layer_norm(x, w, b, 1e-5f).values()) < 2e-6);
        CHECK(difference(kernels::layer_norm_backward_x(sdy, sx, sw, 1e-5f).values(),
                         kernels::layer_norm_backward_x(dy, x, w, 1e-5f).values()) < 1e-5);
    }
    // a row alone and among others
    const Tensor x = random({9, 576}).to(Device::sim);
    CHECK(same_bits(kernels::softmax(x).slice(0, 4, 5), kernels::softmax(x.slice(0, 4, 5))));
}

TEST_CASE("device sim: softmax of infinities and NaN, and the steps of its ladder") {
    const Checked mode(true);
    const float inf = INFINITY;
    Tensor x = random({5, 70});
    float* p = x.mutable_data<float>();
    for (int i = 0; i < 60; ++i) p[i] = -inf;       // row 0: first finite value comes late
    for (int i = 0; i < 70; ++i) p[70 + i] = -inf;  // row 1: nothing
    p[2 * 70 + 69] = NAN;                           // row 2
    const std::vector<double> cpu = kernels::softmax(x).values();
    const auto agree = [&](const Tensor& y) {
        const std::vector<double> sim = y.values();
        for (size_t i = 0; i < cpu.size(); ++i) {
            if (std::isnan(cpu[i]))
                CHECK(std::isnan(sim[i]));
            else
                CHECK(std::abs(sim[i] - cpu[i]) <= 1e-6);
        }
    };
    const Tensor there = x.to(Device::sim);
    agree(kernels::softmax(there));
    for (const auto* body : {&kernels::softmax_naive_body, &kernels::softmax_better_body}) {
        Tensor y = Tensor::empty(x.shape(), DType::f32, Device::sim);
        kernels::on(*body, Device::sim)(there.device_data<float>(), y.mutable_device_data<float>(), 5, 70);
        agree(y);
    }
}

TEST_CASE("device sim: copies of views by the ladder's first step") {
    const Checked mode(true);
    const Tensor x = random({3, 40, 37}).to(Device::sim);
    Tensor y = Tensor::empty({37, 40, 3}, DType::f32, Device::sim);
    kernels::on(kernels::contiguous_naive_body, Device::sim)(
        x.device_raw(), {.rank = 3, .size = {37, 40, 3}, .stride = {1, 37, 40 * 37}}, 4, y.mutable_device_raw());
    CHECK(same_bits(y, x.transpose(0, 2).to_contiguous()));
    CHECK(same_bits(x.to(DType::bf16), x.to(Device::cpu).to(DType::bf16)));
    CHECK_THROWS_WITH_AS(x.to(DType::f64), doctest::Contains("cast: [3, 40, 37] f32 on sim to f64"), DTypeError);
}

TEST_CASE("device sim: many parameters in one step of Adam") {
    const Checked mode(true);
    constexpr int kCount = 70;
    std::vector<Tensor> cpu[4], sim[4];
    for (int i = 0; i < kCount; ++i)
        for (int k = 0; k < 4; ++k) {
            const Tensor t = k == 3 ? Tensor::full({i % 7, 5}, 0.01 * i) : random({i % 7, 5});
            cpu[k].push_back(t);
            sim[k].push_back(t.to(Device::sim));
        }
    const auto step = [](std::vector<Tensor>* t) {
        std::vector<kernels::AdamParameter> list;
        for (size_t i = 0; i < kCount; ++i)
            list.push_back({&t[0][i], &t[1][i], &t[2][i], &t[3][i], 0.01f * static_cast<float>(i),
                            static_cast<int64_t>(i) + 1, i % 2 ? 0.1 : 0});
        kernels::adam_steps(list, {}, 0.5f);
    };
    step(cpu);
    step(sim);
    for (int k = 0; k < 4; ++k)
        for (size_t i = 0; i < kCount; ++i) CHECK(same_bits(cpu[k][i], sim[k][i]));
}

TEST_CASE("device sim: the norms of many tensors") {
    const Checked mode(true);
    std::vector<Tensor> cpu, sim;
    for (int64_t i = 0; i < 150; ++i) {
        cpu.push_back(random({i == 20 ? 9000 : i % 7, 3}));
        sim.push_back(cpu.back().to(Device::sim));
    }
    std::vector<double> expected(cpu.size()), actual(cpu.size());
    kernels::sums_of_squares(cpu, expected);
    kernels::sums_of_squares(sim, actual);
    for (size_t i = 0; i < cpu.size(); ++i) CHECK(actual[i] == doctest::Approx(expected[i]).epsilon(1e-14));
    CHECK(kernels::sum_of_squares(sim[20]) == actual[20]);
    CHECK_THROWS_WITH_AS(kernels::sums_of_squares(sim, {actual.data(), 3}), doctest::Contains("room for 3"), Error);
}

TEST_CASE("device sim: the tape") {
    const Checked mode(true);
    const Tensor start = random({4, 33});
    std::vector<Tensor> results[2];
    for (const Device device : {Device::cpu, Device::sim}) {
        Tensor x = start.to(device).clone();
        set_requires_grad(x);
        const TapedOp &add = *derivative("add"), &mul = *derivative("mul"), &sum = *derivative("sum_all");
        for (int pass = 0; pass < 2; ++pass) {
            const Tensor twice = add(std::vector<Tensor>{x, x}, {});
            const Tensor y = mul(std::vector<Tensor>{add(std::vector<Tensor>{twice, x}, {}), twice}, {});
            backward(sum(std::vector<Tensor>{y}, {}));
            results[device == Device::sim].push_back(grad(x).clone());
            if (pass == 0) zero_grad(x, true);
        }
    }
    for (size_t i = 0; i < 2; ++i) CHECK(same_bits(results[0][i], results[1][i]));
    CHECK(same_bits(results[0][0], results[0][1]));

    const FiniteCheck check;
    const Tensor bad = Tensor::full({3}, INFINITY, DType::f32, Device::sim);
    CHECK_THROWS_WITH_AS((*derivative("add"))(std::vector<Tensor>{bad, bad}, {}), doctest::Contains("not finite"),
                         TrainingError);
}

TEST_CASE("device sim: tensors of two devices do not mix") {
    const Tensor cpu = random({3, 8}), sim = cpu.to(Device::sim);
    CHECK_THROWS_WITH_AS(kernels::add(sim, cpu), doctest::Contains("add: b is [3, 8] f32, but must be on sim"), Error);
    CHECK_THROWS_WITH_AS(kernels::add(cpu, sim), doctest::Contains("device sim"), Error);
    const Tensor w = random({8});
    CHECK_THROWS_WITH_AS(kernels::layer_norm(sim, w, w, 1e-5f), doctest::Contains("layer_norm: weight"), Error);
    CHECK_THROWS_WITH_AS(kernels::embedding(sim, Tensor::full({2}, 3, DType::i32)),
                         doctest::Contains("id 3 at position 0"), Error);
    Tensor x = sim.clone();
    set_requires_grad(x);
    const Tensor y = (*derivative("gelu"))(std::vector<Tensor>{x}, {});
    CHECK_THROWS_WITH_AS(backward(y, cpu), doctest::Contains("the result is on sim"), Error);
    clear_tape();
}

TEST_CASE("device sim: kernels move hardly more sectors than they need, and no bank conflicts") {
    const Checked mode(true);
    const auto sim = [](const Tensor& t) { return t.to(Device::sim); };
    const Tensor x = sim(random({24, 576})), dy = sim(random({24, 576})), w = sim(random({576}));
    const Tensor head = sim(random({24, 9, 64})), positions = random_ids({24}, 50), ids = random_ids({24}, 24);
    const RopeTable table = make_rope_table(50, 64, 10000);
    const RopeTable sim_table{sim(table.cos), sim(table.sin)};
    const Tensor columns = x.transpose(0, 1);
    const DropoutKey key{.p = 0.1f, .seed = 1, .row_keys = Tensor::zeros({24}, DType::i64)};
    Tensor dw = Tensor::zeros({576}, DType::f32, Device::sim), dx = Tensor::zeros({24, 576}, DType::f32, Device::sim);
    const std::vector<std::pair<std::string, std::function<void()>>> calls = {
        {"add", [&] { kernels::add(x, dy); }},
        {"gelu", [&] { kernels::gelu_backward(dy, x); }},
        {"cast", [&] { kernels::cast(kernels::cast(x, DType::bf16), DType::f32); }},
        {"silu_mul", [&] { kernels::silu_mul(x); }},
        {"dropout", [&] { kernels::dropout(x, key); }},
        {"rope, half split", [&] { kernels::rope(head, positions, sim_table, RopeLayout::half_split); }},
        {"rope, interleaved", [&] { kernels::rope(head, positions, sim_table, RopeLayout::interleaved); }},
        {"gather", [&] { kernels::gather_rows(x, ids); }},
        {"gather backward", [&] { kernels::gather_rows_backward(dy, ids, dx); }},
        {"embedding", [&] { kernels::embedding(x, ids); }},
        {"softmax", [&] { kernels::softmax_backward(dy, kernels::softmax(x)); }},
        {"layer_norm", [&] { kernels::layer_norm(x, w, w, 1e-5f); }},
        {"layer_norm backward",
         [&] {
             kernels::layer_norm_backward_x(dy, x, w, 1e-5f);
             kernels::layer_norm_backward_w(dy, x, 1e-5f, dw);
         }},
        {"sum_all", [&] { kernels::sum_all(x); }},
        {"transpose", [&] { columns.to_contiguous(); }},
    };
    for (const auto& [name, call] : calls) {
        CAPTURE(name);
        const simt::Recording recording;
        call();
        const simt::Counters total = recording.total();
        CHECK(total.load_requests + total.store_requests > 0);
        CHECK(total.sector_ratio() <= 1.05);
        CHECK(total.bank_conflicts() == 0);
    }

    // what the first steps of the ladders cost
    Tensor y = Tensor::empty({64, 576}, DType::f32, Device::sim);
    const Tensor rows = sim(random({64, 576}));
    {
        const simt::Recording recording;
        kernels::on(kernels::softmax_naive_body, Device::sim)(rows.device_data<float>(), y.mutable_device_data<float>(),
                                                              64, 576);
        CHECK(recording.total().sector_ratio() == doctest::Approx(8));
    }
    {
        const simt::Recording recording;
        kernels::on(kernels::contiguous_naive_body, Device::sim)(
            rows.device_raw(), {.rank = 2, .size = {576, 64}, .stride = {1, 576}}, 4, y.mutable_device_raw());
        CHECK(recording.total().sector_ratio() > 4);  // the loads; its stores are ideal
    }
}
