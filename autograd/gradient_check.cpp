#include "autograd/gradient_check.h"

#include <cmath>

#include "autograd/tape.h"
#include "tensor/philox.h"

namespace wavllm {

namespace {

/// In the dtype of y, the same numbers in each.
Tensor cotangent(const Tensor& y) {
    Tensor c = Tensor::empty(y.shape());
    const Philox rng(1, "gradient_check", 0);
    float* p = c.mutable_data<float>();
    for (int64_t i = 0; i < c.numel(); ++i) p[i] = rng.normal(static_cast<uint64_t>(i));
    return y.dtype() == DType::f64 ? c.to(DType::f64) : c;
}

double dot(const std::vector<double>& c, const std::vector<double>& y) {
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += c[i] * y[i];
    return sum;
}

/// f(i, delta): the scalar with element `element` of input i moved by delta.
GradientError compare(const std::vector<Tensor>& leaves, const std::vector<bool>& check, int samples,
                      double relative_step,
                      const std::function<double(size_t input, int64_t element, double delta)>& f) {
    GradientError worst;
    for (size_t i = 0; i < leaves.size(); ++i) {
        if (!check[i]) continue;
        const Tensor g = grad(leaves[i]);
        if (!g.defined())
            throw TrainingError("gradient check: input {} ({}) received no gradient", i, leaves[i].describe());
        const std::vector<double> analytic = g.values(), x = leaves[i].values();
        const auto n = static_cast<int64_t>(analytic.size());
        const int64_t apart = std::max<int64_t>(1, n / samples);
        std::vector<std::pair<int64_t, double>> numeric;
        double scale = 1e-3;
        for (int64_t e = 0; e < n; e += apart) {
            const double h = relative_step * std::max(1.0, std::abs(x[static_cast<size_t>(e)]));
            const bool in_f64 = leaves[i].dtype() == DType::f64;
            const auto slope = [&](double step) {
                const double d = (f(i, e, step) - f(i, e, -step)) / (2 * step);
                // the five-point formula: the error falls with step^4 instead of step^2
                return in_f64 ? (4 * d - (f(i, e, 2 * step) - f(i, e, -2 * step)) / (4 * step)) / 3 : d;
            };
            double d = slope(h);
            // Where a small step drowns in the rounding of a large value a longer one decides. A wrong gradient fits none.
            const double a = analytic[static_cast<size_t>(e)];
            const auto fits = [&] { return std::abs(a - d) <= 1e-8 * std::max(1e-3, std::abs(d)); };
            for (double longer = 10 * h; in_f64 && longer < 200 * h && !fits(); longer *= 10)
                if (const double other = slope(longer); std::abs(a - other) < std::abs(a - d)) d = other;
            numeric.emplace_back(e, d);
            scale = std::max(scale, std::abs(d));
        }
        for (double a : analytic) scale = std::max(scale, std::isfinite(a) ? std::abs(a) : 0.0);
        for (auto [e, d] : numeric) {
            const double a = analytic[static_cast<size_t>(e)], relative = std::abs(a - d) / scale;
            if (!(relative <= worst.relative)) worst = {static_cast<int>(i), e, d, a, relative};  // NaN is the worst
        }
    }
    return worst;
}

std::vector<Tensor> make_leaves(Inputs inputs, std::vector<bool>& check) {
    std::vector<Tensor> leaves;
    for (size_t i = 0; i < inputs.size(); ++i) {
        if (check.size() <= i)
            check.push_back(inputs[i].defined() &&
                            (inputs[i].dtype() == DType::f32 || inputs[i].dtype() == DType::f64));
        leaves.push_back(inputs[i].defined() ? inputs[i].clone() : Tensor());
        if (check[i]) set_requires_grad(leaves[i]);
    }
    return leaves;
}

}  // namespace

GradientError gradient_check(const std::function<Tensor(Inputs)>& taped,
                             const std::function<Array64(Inputs64)>& reference, Inputs inputs,
                             const std::vector<bool>& differentiable, int samples) {
    std::vector<bool> check = differentiable;
    const std::vector<Tensor> leaves = make_leaves(inputs, check);
    const Tensor y = taped(leaves);
    const Tensor c = cotangent(y);
    backward(y, c.to(y.device()));
    const std::vector<double> weights = c.values();
    std::vector<Array64> x;
    for (const Tensor& t : leaves) x.push_back(t.defined() ? Array64(t.detach()) : Array64());
    return compare(leaves, check, samples, 1e-5, [&](size_t i, int64_t e, double delta) {
        const double before = x[i][e];
        x[i][e] += delta;
        const double value = dot(weights, reference(x).v);
        x[i][e] = before;
        return value;
    });
}

GradientError gradient_check(const std::function<Tensor(Inputs)>& taped, Inputs inputs, double epsilon, int samples) {
    std::vector<bool> check;
    const std::vector<Tensor> leaves = make_leaves(inputs, check);
    const Tensor y = taped(leaves);
    const Tensor c = cotangent(y);
    backward(y, c);
    return compare(leaves, check, samples, epsilon, [&](size_t i, int64_t e, double delta) {
        NoGrad no_grad;
        std::vector<Tensor> moved = leaves;
        moved[i] = leaves[i].clone();
        moved[i].mutable_data<float>()[e] += static_cast<float>(delta);
        return dot(c.values(), taped(moved).values());
    });
}

}  // namespace wavllm
