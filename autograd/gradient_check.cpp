#include "autograd/gradient_check.h"

#include <cmath>

#include "autograd/tape.h"
#include "tensor/philox.h"

namespace wavllm {

namespace {

Tensor cotangent(const Shape& shape) {
    Tensor c = Tensor::empty(shape);
    const Philox rng(1, "gradient_check", 0);
    float* p = c.mutable_data<float>();
    for (int64_t i = 0; i < c.numel(); ++i) p[i] = rng.normal(static_cast<uint64_t>(i));
    return c;
}

double dot(const Tensor& c, const std::vector<double>& y) {
    const float* p = c.data<float>();
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += p[i] * y[i];
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
        const int64_t step = std::max<int64_t>(1, n / samples);
        std::vector<std::pair<int64_t, double>> numeric;
        double scale = 1e-3;
        for (int64_t e = 0; e < n; e += step) {
            const double h = relative_step * std::max(1.0, std::abs(x[static_cast<size_t>(e)]));
            const double d = (f(i, e, h) - f(i, e, -h)) / (2 * h);
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
        if (check.size() <= i) check.push_back(inputs[i].defined() && inputs[i].dtype() == DType::f32);
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
    const Tensor c = cotangent(y.shape());
    backward(y, c.to(y.device()));
    std::vector<Array64> x;
    for (const Tensor& t : leaves) x.push_back(t.defined() ? Array64(t.detach()) : Array64());
    return compare(leaves, check, samples, 1e-5, [&](size_t i, int64_t e, double delta) {
        const double before = x[i][e];
        x[i][e] += delta;
        const double value = dot(c, reference(x).v);
        x[i][e] = before;
        return value;
    });
}

GradientError gradient_check(const std::function<Tensor(Inputs)>& taped, Inputs inputs, double epsilon, int samples) {
    std::vector<bool> check;
    const std::vector<Tensor> leaves = make_leaves(inputs, check);
    const Tensor y = taped(leaves);
    const Tensor c = cotangent(y.shape());
    backward(y, c);
    return compare(leaves, check, samples, epsilon, [&](size_t i, int64_t e, double delta) {
        NoGrad no_grad;
        std::vector<Tensor> moved = leaves;
        moved[i] = leaves[i].clone();
        moved[i].mutable_data<float>()[e] += static_cast<float>(delta);
        return dot(c, taped(moved).values());
    });
}

}  // namespace wavllm
