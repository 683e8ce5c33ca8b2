#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/common/op_case.h"
#include "kernels/sample/sample.h"
#include "kernels/sample/weights.h"

namespace wavllm {

namespace {

/// By the definition: sort, cut, and walk to a random share of the mass.
int64_t draw(std::vector<double> z, const Params& p, uint64_t request, uint32_t position) {
    const double temperature = p.number("temperature");
    const auto largest = std::max_element(z.begin(), z.end());
    if (temperature == 0) return largest - z.begin();
    std::vector<double> sorted = z;
    std::sort(sorted.rbegin(), sorted.rend());
    double cut = -INFINITY;
    if (const int64_t k = p.i("top_k"); k > 0 && k < static_cast<int64_t>(z.size()))
        cut = sorted[static_cast<size_t>(k) - 1];
    const double top = *largest;
    const auto mass = [&](double x) { return x >= cut ? std::exp((x - top) / temperature) : 0.0; };
    const auto sum = [&](double total, double x) { return total + mass(x); };
    const double target = p.f("top_p") * std::accumulate(z.begin(), z.end(), 0.0, sum);
    double reached = 0;
    for (size_t i = 0; i < sorted.size() && p.f("top_p") < 1; ++i) {
        reached += mass(sorted[i]);
        if (reached < target) continue;
        cut = sorted[i];
        break;
    }
    const uint64_t bits =
        kernels::draw_bits(static_cast<uint64_t>(p.i("seed")), purpose_hash("sample"), request, position);
    const double place = static_cast<double>(bits) * 0x1p-64 * std::accumulate(z.begin(), z.end(), 0.0, sum);
    double upto = 0;
    for (size_t i = 0; i < z.size(); ++i)
        if ((upto += mass(z[i])) > place) return static_cast<int64_t>(i);
    return -1;
}

}  // namespace

OP_CASES(sample) {
    op.has_gradient = false;
    op.forward = [](Inputs in, const Params& p) {
        const Sampling s{p.f("temperature"), p.i("top_k"), p.f("top_p"), static_cast<uint64_t>(p.i("seed"))};
        const Tensor requests = Tensor::from(p.list("requests"), {in[0].dim(0)}),
                     positions = Tensor::from(p.list("positions"), {in[0].dim(0)});
        const kernels::Sampled r = kernels::sample(in[0], s, requests, positions);
        if (p.flag("log_probs")) return r.log_probs;
        Tensor ids = Tensor::empty({in[0].dim(0)});
        const std::vector<double> values = r.ids.values();
        std::copy(values.begin(), values.end(), ids.mutable_data<float>());
        return ids.to(in[0].device());
    };
    op.reference = [](Inputs64 in, const Params& p) {
        const int64_t n = in[0].shape[1];
        Array64 y(Shape{in[0].shape[0]});
        for (int64_t row = 0; row < y.shape[0]; ++row) {
            const auto first = in[0].v.begin() + row * n;
            const std::vector<double> z(first, first + n);
            const auto i = static_cast<size_t>(row);
            const int64_t id =
                draw(z, p, static_cast<uint64_t>(p.list("requests")[i]), static_cast<uint32_t>(p.list("positions")[i]));
            double total = 0;
            for (const double x : z) total += std::exp(x - z[static_cast<size_t>(id)]);
            y[row] = p.flag("log_probs") ? -std::log(total) : static_cast<double>(id);
        }
        return y;
    };
    const auto one = [&](const char* name, const Tensor& logits, double temperature, double top_k, double top_p,
                         bool bench = false) {
        Params params{{"temperature", temperature}, {"top_k", top_k}, {"top_p", top_p}, {"seed", 7}};
        std::vector<int64_t> requests, positions;
        for (int64_t i = 0; i < logits.dim(0); ++i) {
            requests.push_back(i * 1000003 % 17 - 5);
            positions.push_back(i);
        }
        params.list("requests", requests).list("positions", positions);
        op.add({.name = name,
                .inputs = {logits},
                .params = params,
                .tolerance = 0,
                .bytes = 4.0 * static_cast<double>(logits.numel()),
                .flops = 20.0 * static_cast<double>(logits.numel()),
                .bench = bench});
        if (bench) return;
        OpCase c = op.cases.back();
        params =
            Params{{"temperature", temperature}, {"top_k", top_k}, {"top_p", top_p}, {"seed", 7}, {"log_probs", 1}};
        params.list("requests", requests).list("positions", positions);
        c.params = params;
        c.name = std::string(name) + ", log-probabilities";
        c.tolerance = 2e-6;
        op.add(c);
    };
    one("greedy", random({9, 37}, 3), 0, 0, 1);
    Tensor equal = random({4, 40}, 1e-3);
    for (int64_t row = 0; row < 4; ++row)
        for (int64_t i = 3 * row + 1; i < 40; i += 7) equal.mutable_data<float>()[row * 40 + i] = 2;
    one("greedy, the first of equal ones", equal, 0, 0, 1);
    one("equal ones are kept together", equal, 1, 2, 1);
    one("equal ones are in the nucleus together", equal, 1, 0, 0.1);
    one("one token", random({3, 1}), 0.5, 0, 1);
    one("no cut", random({30, 61}, 2), 1, 0, 1);
    one("WavLLM's temperature", random({20, 1031}, 3), 0.5, 0, 1);
    one("top_k", random({30, 64}, 2), 0.8, 5, 1);
    one("top_k of one", random({10, 64}, 2), 2, 1, 1);
    one("more than there are", random({10, 6}, 2), 2, 60, 1);
    one("top_p", random({30, 129}, 2), 1.2, 0, 0.7);
    one("top_k and top_p", random({30, 2500}, 3), 0.7, 40, 0.9);
    one("far from zero", random({20, 90}, 2, -3000), 1, 20, 0.95);
    Tensor masked = random({6, 100});
    for (int64_t i = 0; i < 600; i += 3) masked.mutable_data<float>()[i] = -INFINITY;
    one("masked", masked, 1, 50, 0.8);
    one("no rows", random({0, 5}), 1, 0, 1);
    one("8x32000, temperature", random({8, 32000}, 3), 0.5, 0, 1, true);
    one("8x32000, top_k and top_p", random({8, 32000}, 3), 0.7, 40, 0.9, true);
}

}  // namespace wavllm
