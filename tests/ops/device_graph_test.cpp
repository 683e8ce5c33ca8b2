// Graphs on devices: a recorded step gives the bits of the step itself, also when what lies in device memory has changed,
// and what a graph cannot repeat is refused. Witness: the same ops launched one by one.

#include "kernels/add/add.h"
#include "kernels/cache_append/cache_append.h"
#include "kernels/common/check.h"
#include "kernels/decode_attention/decode_attention.h"
#include "kernels/embedding/embedding.h"
#include "kernels/rope/rope.h"
#include "kernels/silu/silu.h"
#include "tensor/graph.h"
#include "tests/ops/device_support.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

doctest::Contains names(const char* text) {
    return doctest::Contains(text);
}

/// Three launches, two of them into memory that was freed inside, a copy and zeroed memory.
Tensor step(const Tensor& x) {
    Tensor sum = Tensor::zeros(x.shape(), DType::f32, x.device());
    for (int i = 0; i < 3; ++i) sum = kernels::add(kernels::silu(x), sum);
    return sum.clone();
}

Tensor i64(const std::vector<int64_t>& values) {
    return Tensor::from(values, {static_cast<int64_t>(values.size())});
}

}  // namespace

TEST_CASE("graph: a captured step repeats itself on what lies in device memory now") {
    for (const Device device : test_devices()) {
        for (const bool checked : {false, true}) {
            const SimScope scope(checked, 3);
            Tensor x = random({37, 21}).to(device), y;
            const auto run = [&] {
                y = {};
                y = step(x);
            };
            run();
            const Tensor first = y.to(Device::cpu);  // a copy there would take of what the step needs
            const Graph graph = Graph::capture(device, run);
            CHECK(!capturing());
            for (const double scale : {1.0, -3.0, 0.25}) {
                x.assign(random({37, 21}, scale));
                graph.launch();
                const Tensor repeated = y.clone();
                CHECK(same_bits(repeated, step(x)));
                CHECK_FALSE(same_bits(repeated, first));
            }
        }
    }
}

TEST_CASE("graph: nothing runs while it is captured, and others get none of its memory while it lives") {
    for (const Device device : test_devices()) {
        const Tensor x = random({64, 33}).to(device);
        Tensor y = Tensor::zeros({64, 33}, DType::f32, device);
        const auto run = [&] { y.assign(step(x)); };
        run();
        const Tensor expected = y.to(Device::cpu);
        y.fill_zero();
        const Graph graph = Graph::capture(device, run);
        CHECK(same_bits(y, Tensor::zeros({64, 33})));
        std::vector<Tensor> others;
        for (int i = 0; i < 8; ++i) others.push_back(random({64, 33}).to(device));
        const std::vector<double> before = others[5].values();
        graph.launch();
        CHECK(same_bits(y, expected));
        CHECK(others[5].values() == before);
    }
}

TEST_CASE("graph: a step that asks for memory which was not there before is refused") {
    for (const Device device : test_devices()) {
        const Tensor x = random({4, 3}).to(device), large = random({1237, 457}).to(device);
        Tensor y;
        CHECK_THROWS_WITH_AS(Graph::capture(device, [&] { y = kernels::silu(large); }), names("are not cached, and"),
                             Error);
        CHECK(!capturing());  // given up
        y = kernels::silu(large);
        y = {};
        CHECK_NOTHROW(Graph::capture(device, [&] { y = kernels::silu(large); }));
    }
}

TEST_CASE("graph: what the CPU would have to do again is refused") {
    for (const Device device : test_devices()) {
        const Tensor x = random({4, 2, 8}).to(device), table = random({9, 8}).to(device);
        const auto refused = [&](const char* message, const std::function<void()>& f) {
            CAPTURE(message);
            f();  // is none outside, and what it needs is cached
            CHECK_THROWS_WITH_AS(Graph::capture(device, f), names(message), Error);
            CHECK(!capturing());
        };
        refused("a copy to the CPU cannot be part of a captured graph", [&] { static_cast<void>(x.values()); });
        refused("a copy from the CPU cannot be part of a captured graph", [&] {
            static_cast<void>(Tensor::full({4, 2, 8}, 1).to(device));
        });
        refused("waiting for the", [&] { synchronize(device); });
        // plans made of host values, though their copies on the device are there already
        const Tensor positions = Tensor::full({4}, 3, DType::i32), ids = Tensor::full({4}, 5, DType::i32);
        const RopeTable cpu_table = make_rope_table(9, 8, 10000);
        const RopeTable rope_table{cpu_table.cos.to(device), cpu_table.sin.to(device)};
        refused("rope with positions on the CPU",
                [&] { kernels::rope(x, positions, rope_table, RopeLayout::half_split); });
        refused("embedding with ids on the CPU", [&] { kernels::embedding(table, ids); });
        const Tensor cache = random({4, 5, 2, 8}).to(device), lengths = i64({5, 2, 1, 3});
        refused("decode_attention with lengths on the CPU",
                [&] { kernels::decode_attention(x, cache, cache, lengths, 0.3f); });
        const Tensor borders = kernels::make_borders(std::vector<int64_t>{1, 1, 1, 1});
        refused("cache_append with lengths on the CPU",
                [&] { kernels::cache_append(x, x, borders, lengths, cache, cache); });
    }
    CHECK_THROWS_WITH_AS(Graph().launch(), names("an empty graph"), Error);
    CHECK_THROWS_WITH_AS(Graph::capture(Device::cpu, [] {}), names("device cpu has no graphs"), UsageError);
}

TEST_CASE("graph: one at a time, and what a step throws comes out") {
    for (const Device device : test_devices()) {
        CHECK_THROWS_WITH_AS(Graph::capture(device, [&] { Graph::capture(device, [] {}); }),
                             names("a graph is being captured already"), Error);
        CHECK_THROWS_WITH_AS(Graph::capture(device, [] { throw ShapeError("by the step"); }), names("by the step"),
                             ShapeError);
        CHECK(!capturing());
    }
}

TEST_CASE("graph on sim: a tensor that ended before the graph is found") {
    if (!tests_run_on(Device::sim)) return;
    const SimScope scope(true, 0);
    Tensor x = random({5, 7}).to(Device::sim), y = kernels::silu(x);
    y = {};
    const Graph graph = Graph::capture(Device::sim, [&] { y = kernels::silu(x); });
    graph.launch();
    x = {};
    CHECK_THROWS_WITH_AS(graph.launch(), names("freed"), Error);
}

TEST_CASE("decode_attention and cache_append: lengths on the device beyond the room there is") {
    for (const Device device : test_devices()) {
        const SimScope scope(true, 0);
        const Tensor q = random({3, 2, 8}).to(device), cache = random({3, 70, 2, 8}).to(device);
        const Tensor whole = i64({70, 66, 3}), beyond = i64({99, 66, 3}), cut = i64({65, 65, 3});
        // one behind the other as a cache lies: a key too many would be the next request's
        CHECK(same_bits(kernels::decode_attention(q, cache, cache, beyond.to(device), 0.3f),
                        kernels::decode_attention(q, cache, cache, whole, 0.3f)));
        const Tensor seen = cache.slice(1, 0, 65);
        CHECK(same_bits(kernels::decode_attention(q, seen, seen, beyond.to(device), 0.3f),
                        kernels::decode_attention(q, seen, seen, cut, 0.3f)));
        const Tensor borders = kernels::make_borders(std::vector<int64_t>{1, 1, 1});
        const Tensor k = random({3, 2, 8}).to(device);
        Tensor written = cache.clone(), expected = cache.clone();
        kernels::cache_append(k, k, borders, i64({71, 0, 4}).to(device), written, written);
        expected.select(0, 2).slice(0, 3, 4).assign(k.slice(0, 2, 3));
        CHECK(same_bits(written, expected));
        CHECK_THROWS_WITH_AS(kernels::cache_append(k, k, borders, i64({71, 1, 4}), written, written),
                             names("request 0 brings 1 rows and would hold 71 keys with them, but the cache has room"),
                             ShapeError);
    }
}
