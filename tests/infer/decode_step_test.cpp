// A decoding step on a device, launched kernel by kernel and as a graph: equal tokens and logits, to the bit. Witnesses: the
// pass that plans with lengths on the CPU, and the CPU's tokens.

#include "infer/decode_step.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "autograd/tape.h"
#include "infer/generate.h"
#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "models/llama/random.h"
#include "tests/devices.h"

using namespace wavllm;

namespace {

constexpr int64_t kSteps = 24;

/// Room for lengths on both sides of 128, where another graph begins.
LlamaConfig config() {
    LlamaConfig c;
    c.dim = 32;
    c.layers = 2;
    c.heads = 4;
    c.kv_heads = 2;
    c.ffn = 48;
    c.vocab = 64;
    c.max_positions = 300;
    return c;
}

struct Fixture {
    Llama llama = random_llama(config(), 3);
    Lora lora{{.rank = 4, .alpha = 8}, 2, llama.lora_dims(), 5};
    std::vector<int64_t> rows{115, 3, 40};
    Tensor borders = kernels::make_borders(rows);
    Tensor x;

    Fixture() {
        for (const Parameter& p : lora.parameters()) {  // B is zero at first
            Tensor values = Tensor::empty(p.tensor.shape());
            for (int64_t i = 0; i < values.numel(); ++i)
                values.mutable_data<float>()[i] = static_cast<float>(i % 7 - 3) * 0.02f;
            Tensor(p.tensor).assign(values);
        }
        Tensor ids = Tensor::empty({158}, DType::i32);
        for (int64_t i = 0; i < 158; ++i) ids.mutable_data<int32_t>()[i] = static_cast<int32_t>(i * 37 % 64);
        x = llama.embed(ids);
    }
    LlamaPass pass(KvCache& cache) const {
        LlamaPass p;
        p.lora = &lora;
        p.run.scale.s = lora.stage1_scale();
        p.cache = &cache;
        p.borders = borders;
        p.positions = LlamaPass::positions_for(borders, &cache);
        return p;
    }
};

struct Written {
    std::vector<std::vector<int32_t>> ids;
    std::vector<float> logits;
    std::vector<int64_t> lengths;
    int captures = 0;
};

void add(Written& w, const std::vector<int32_t>& ids, const Tensor& logits) {
    w.ids.push_back(ids);
    const Tensor l = logits.to(Device::cpu);
    w.logits.insert(w.logits.end(), l.data<float>(), l.data<float>() + l.numel());
}

/// The requests' last rows.
Tensor ends(const Tensor& h) {
    Tensor rows = Tensor::empty({3, h.dim(1)}, DType::f32, h.device());
    const int64_t at[] = {114, 117, 157};
    for (int64_t i = 0; i < 3; ++i) rows.select(0, i).assign(h.select(0, at[i]));
    return rows;
}

/// kSteps tokens; graphs: null for the pass that asks the CPU for lengths.
Written decode(const Fixture& f, const bool* graphs) {
    NoGrad no_grad;
    Written w;
    KvCache cache(f.llama.config(), 3, 115 + kSteps, f.llama.device());
    LlamaPass pass = f.pass(cache);
    Tensor logits = f.llama.logits(ends(f.llama.forward(f.x, pass)));
    std::vector<int32_t> ids = choose_on_device(logits, false).ids;
    add(w, ids, logits);
    if (graphs) {
        DecodeStep step(f.llama, pass, ids, *graphs);
        for (int64_t i = 1; i < kSteps; ++i) {
            ids = step.next(false).ids;
            add(w, ids, step.logits());
        }
        w.captures = step.captures();
    } else {
        pass.borders = kernels::make_borders(std::vector<int64_t>{1, 1, 1});
        for (int64_t i = 1; i < kSteps; ++i) {
            pass.positions = LlamaPass::positions_for(pass.borders, &cache);
            logits = f.llama.logits(f.llama.forward(f.llama.embed(Tensor::from(ids, {3})), pass));
            ids = choose_on_device(logits, false).ids;
            add(w, ids, logits);
        }
    }
    for (int64_t i = 0; i < 3; ++i) w.lengths.push_back(cache.length(i));
    return w;
}

void expect_equal(const Written& a, const Written& b) {
    CHECK(a.ids == b.ids);
    CHECK(a.lengths == b.lengths);
    REQUIRE(a.logits.size() == b.logits.size());
    CHECK(std::memcmp(a.logits.data(), b.logits.data(), a.logits.size() * sizeof(float)) == 0);
}

/// Tokens and cache lengths of generate_greedy; request 1 stops after its fourth token.
std::pair<std::vector<Generated>, std::vector<int64_t>> generate(const Fixture& f, Graphs graphs) {
    KvCache cache(f.llama.config(), 3, 115 + kSteps, f.llama.device());
    GenerateOptions options;
    options.max_new_tokens = kSteps;
    options.lora = &f.lora;
    options.run.scale.s = f.lora.stage1_scale();
    options.log_probs = true;
    options.graphs = graphs;
    int taken = 0;
    options.on_token = [&](size_t request, int32_t) { return request != 1 || ++taken < 4; };
    auto generated = generate_greedy(f.llama, f.x, f.borders, cache, options);
    std::vector<int64_t> lengths;
    for (int64_t i = 0; i < 3; ++i) lengths.push_back(cache.length(i));
    return {generated, lengths};
}

}  // namespace

TEST_CASE("decode step: a graph gives the tokens and the logits of the kernels one by one, to the bit") {
    for (const Device device : test_devices()) {
        const DeviceScope scope(device);
        const Fixture f;
        const bool off = false, on = true;
        const Written host = decode(f, nullptr), kernels = decode(f, &off), graph = decode(f, &on);
        expect_equal(kernels, host);
        expect_equal(graph, host);
        CHECK(kernels.captures == 0);
        CHECK(graph.captures == 2);  // up to 128 tokens, and beyond
        CHECK(host.lengths == std::vector<int64_t>{115 + kSteps - 1, 3 + kSteps - 1, 40 + kSteps - 1});
        std::vector<int32_t> first;
        for (const auto& ids : host.ids) first.push_back(ids[0]);
        CHECK(std::set<int32_t>(first.begin(), first.end()).size() > 2);  // not one token again and again
    }
}

TEST_CASE("decode step: every load and store of a captured step is right") {
    if (!tests_run_on(Device::sim)) return;
    const bool before = kernels::sim_checked();
    const DeviceScope scope(Device::sim);
    const Fixture f;
    const bool on = true;
    const Written fast = decode(f, &on);
    kernels::set_sim_checked(true);
    const Written checked = decode(f, &on);
    kernels::set_sim_checked(before);
    expect_equal(checked, fast);
}

TEST_CASE("generate: greedy tokens with graphs, without, and on the cpu; a request that ends early is forgotten") {
    const auto [cpu, cpu_lengths] = generate(Fixture(), Graphs::automatic);
    CHECK(cpu[1].tokens.size() == 4);
    for (const Device device : test_devices()) {
        const DeviceScope scope(device);
        const Fixture f;
        const auto [off, off_lengths] = generate(f, Graphs::off);
        const auto [on, on_lengths] = generate(f, Graphs::on);
        CHECK(off_lengths == cpu_lengths);
        CHECK(on_lengths == cpu_lengths);
        for (size_t i = 0; i < 3; ++i) {
            CHECK(off[i].tokens == cpu[i].tokens);
            CHECK(on[i].tokens == cpu[i].tokens);
            CHECK(on[i].log_probs == off[i].log_probs);
            REQUIRE(on[i].log_probs.size() == cpu[i].log_probs.size());
            for (size_t t = 0; t < cpu[i].log_probs.size(); ++t)
                CHECK(on[i].log_probs[t] == doctest::Approx(cpu[i].log_probs[t]).epsilon(1e-4));
        }
    }
}

TEST_CASE("generate: what cannot be decoded on a device") {
    for (const Device device : test_devices()) {
        const DeviceScope scope(device);
        const Fixture f;
        KvCache cache(f.llama.config(), 3, 117, device);
        LlamaPass pass = f.pass(cache);
        NoGrad no_grad;
        f.llama.forward(f.x, pass);
        DecodeStep step(f.llama, pass, {1, 2, 3}, true);
        step.next(false);
        step.next(false);
        CHECK_THROWS_WITH_AS(step.next(false), doctest::Contains("request 0 would hold 118 tokens"), Error);
        Tensor logits = Tensor::zeros({2, 64});
        logits.mutable_data<float>()[64] = NAN;
        CHECK_THROWS_WITH_AS(choose_on_device(logits.to(device), false),
                             doctest::Contains("the logits of request 1 have a NaN"), Error);
    }
    CHECK_THROWS_WITH_AS(generate(Fixture(), Graphs::on), doctest::Contains("device cpu has no graphs"), UsageError);
    CHECK(use_graphs(Graphs::automatic, Device::cuda));
    CHECK(!use_graphs(Graphs::automatic, Device::sim));
}
