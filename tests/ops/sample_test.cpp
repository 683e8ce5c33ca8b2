// sample and beam_step beyond their cases. Witnesses: transformers 4.46.3 (TemperatureLogitsWarper, TopKLogitsWarper,
// TopPLogitsWarper, run once; its probabilities stand below), and arithmetic on paper.

#include "kernels/sample/sample.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "kernels/beam_step/beam_step.h"
#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/common/op_case.h"
#include "kernels/sample/weights.h"

using namespace wavllm;

namespace {

Tensor counted(int64_t n, int64_t from = 0) {
    std::vector<int64_t> values(static_cast<size_t>(n));
    std::iota(values.begin(), values.end(), from);
    return Tensor::from(values, {n});
}

/// 12 logits, n times.
Tensor logits_12(int64_t n) {
    Tensor z = Tensor::empty({n, 12});
    for (int64_t i = 0; i < n * 12; ++i)
        z.mutable_data<float>()[i] = static_cast<float>((7 * (i % 12)) % 13) * 0.45f - 1.0f;
    return z;
}

Tensor rows(std::initializer_list<std::vector<float>> list) {
    std::vector<float> all;
    for (const auto& row : list) all.insert(all.end(), row.begin(), row.end());
    return Tensor::from(all, {static_cast<int64_t>(list.size()), static_cast<int64_t>(all.size() / list.size())});
}

}  // namespace

TEST_CASE("sample draws as often as transformers' warpers say, and nothing that they cut off") {
    const std::vector<std::pair<Sampling, std::map<int, double>>> expected = {
        {{.temperature = 0.7f, .top_k = 6, .seed = 11},
         {{1, 0.019467}, {3, 0.037025}, {5, 0.070417}, {7, 0.133927}, {9, 0.254717}, {11, 0.484448}}},
        {{.temperature = 0.7f, .top_p = 0.8f, .seed = 11}, {{7, 0.153394}, {9, 0.291741}, {11, 0.554865}}},
        {{.temperature = 0.7f, .top_k = 4, .top_p = 0.8f, .seed = 12}, {{7, 0.153394}, {9, 0.291741}, {11, 0.554865}}},
    };
    constexpr int64_t kDraws = 40000;
    const Tensor z = logits_12(kDraws);
    for (const auto& [sampling, probabilities] : expected) {
        const kernels::Sampled r = kernels::sample(z, sampling, Tensor::zeros({kDraws}, DType::i64), counted(kDraws));
        std::map<int, int64_t> counts;
        for (const double id : r.ids.values()) ++counts[static_cast<int>(id)];
        for (const auto& [id, count] : counts) CHECK(probabilities.contains(id));
        for (const auto& [id, p] : probabilities) {
            CAPTURE(id);
            const double mean = p * kDraws;
            CHECK(std::abs(static_cast<double>(counts[id]) - mean) < 4.5 * std::sqrt(mean * (1 - p)));
        }
    }
}

TEST_CASE("sample: the token belongs to seed, request and position, and the batch has no part in it") {
    const Tensor z = random({6, 500}, 1);
    const auto ids = [](const Tensor& logits, uint64_t seed, const Tensor& requests, const Tensor& positions) {
        return kernels::sample(logits, {.seed = seed}, requests, positions).ids.values();
    };
    const Tensor requests = counted(6, 100), positions = counted(6, 7);
    const std::vector<double> all = ids(z, 1, requests, positions);
    for (int64_t i = 0; i < 6; ++i)
        CHECK(ids(z.slice(0, i, i + 1), 1, counted(1, 100 + i), counted(1, 7 + i))[0] == all[static_cast<size_t>(i)]);
    CHECK(ids(z, 2, requests, positions) != all);
    CHECK(ids(z, 1, counted(6, 101), positions) != all);
    CHECK(ids(z, 1, requests, counted(6, 8)) != all);
    // request 2^32 is not request 0, and a swap of request and position is another place too
    CHECK(kernels::draw_bits(1, 2, uint64_t{1} << 32, 0) != kernels::draw_bits(1, 2, 0, 0));
    CHECK(kernels::draw_bits(1, 2, 3, 4) != kernels::draw_bits(1, 2, 4, 3));
}

TEST_CASE("sample on sim: the cpu's tokens to the last one, and rows that cannot be drawn from") {
    const bool checked = kernels::sim_checked();
    kernels::set_sim_checked(true);
    const float inf = INFINITY;
    Tensor z = random({150, 77}, 2);
    const std::vector<float> bad[] = {{NAN}, {inf}, {-inf}};
    for (int64_t row = 0; row < 3; ++row)
        for (int64_t i = row == 2 ? 0 : 40; i < (row == 2 ? 77 : 41); ++i)
            z.mutable_data<float>()[row * 77 + i] = bad[row][0];
    for (const Sampling& s : {Sampling{.temperature = 0}, Sampling{.temperature = 0.6f},
                              Sampling{.temperature = 1.5f, .top_k = 9, .top_p = 0.8f, .seed = 3}}) {
        const kernels::Sampled cpu = kernels::sample(z, s, counted(150), counted(150)),
                               sim = kernels::sample(z.to(Device::sim), s, counted(150), counted(150));
        CHECK(sim.ids.device() == Device::sim);
        CHECK(sim.ids.values() == cpu.ids.values());
        const std::vector<double> a = cpu.log_probs.values(), b = sim.log_probs.values();
        for (size_t i = 0; i < 3; ++i) {
            CHECK(cpu.ids.values()[i] == -1);
            CHECK(std::isnan(a[i]));
            CHECK(std::isnan(b[i]));
        }
        for (size_t i = 3; i < a.size(); ++i) CHECK(a[i] == b[i]);
    }
    kernels::set_sim_checked(checked);
}

TEST_CASE("sample refuses what it cannot follow") {
    const Tensor z = random({2, 9}), i = counted(2);
    CHECK_THROWS_WITH_AS(kernels::sample(z, {.temperature = -1}, i, i), doctest::Contains("temperature"), UsageError);
    CHECK_THROWS_WITH_AS(kernels::sample(z, {.top_k = -1}, i, i), doctest::Contains("top_k"), UsageError);
    CHECK_THROWS_WITH_AS(kernels::sample(z, {.top_p = 0}, i, i), doctest::Contains("top_p"), UsageError);
    CHECK_THROWS_WITH_AS(kernels::sample(z, {}, counted(3), i), doctest::Contains("requests"), ShapeError);
    CHECK_THROWS_WITH_AS(kernels::sample(z, {}, i, counted(2, -1)), doctest::Contains("position -1 of row 0"),
                         ShapeError);
}

TEST_CASE("beam_step: by hand, and a NaN shows") {
    const auto log = [](double p) { return static_cast<float>(std::log(p)); };
    // p = 1/2 1/4 1/4 after a beam of 0.4, and 0.1 0.9 0 after one of 0.5: 0.45, 0.2, then 0.1 twice: the lower token
    const Tensor z = rows({{log(2), log(1), log(1)}, {log(1), log(9), -INFINITY}});
    const Tensor scores = Tensor::from(std::vector<float>{log(0.4), log(0.5)}, {2});
    const Tensor borders = kernels::make_borders(std::vector<int64_t>{2});
    for (const Device device : {Device::cpu, Device::sim}) {
        const kernels::BeamStep r = kernels::beam_step(z.to(device), scores.to(device), borders, 4);
        CHECK(r.parents.values() == std::vector<double>{1, 0, 0, 0});
        CHECK(r.tokens.values() == std::vector<double>{1, 0, 1, 2});
        const double expected[] = {0.45, 0.2, 0.1, 0.1};
        for (size_t i = 0; i < 4; ++i)
            CHECK(std::exp(r.scores.values()[i]) == doctest::Approx(expected[i]).epsilon(1e-5));

        const Tensor broken = rows({{1, 2, 3}, {1, NAN, 3}});
        const kernels::BeamStep n = kernels::beam_step(broken.to(device), scores.to(device), borders, 2);
        CHECK(n.parents.values() == std::vector<double>{1, 1});
        CHECK(std::isnan(n.scores.values()[0]));
    }
    CHECK_THROWS_WITH_AS(kernels::beam_step(z, scores, borders, 7), doctest::Contains("fewer than k = 7"), ShapeError);
    CHECK_THROWS_WITH_AS(kernels::beam_step(z, scores, borders, 0), doctest::Contains("k must be"), ShapeError);
}
