#pragma once
// Ops in double. Where an op's folder has a file <op>_f64.h, that file is the formula and nothing else: plain loops,
// forward and backward, independent of the fast bodies. The op hands tensors in f64 to it. The reference mode
// (tensor/model_dtype.h) runs on these, and an op's cases measure every other body against them.
//
// An op without such a file says of an f64 tensor that it takes f32.

#include <algorithm>
#include <cmath>

#include "kernels/common/loops.h"

namespace wavllm::kernels::f64 {

/// Whether an op that is given x runs in double.
inline bool runs(const Tensor& x) {
    return x.dtype() == DType::f64;
}

/// An argument of an op: its elements in row-major order, wherever a strided view has them. Throws as expect() does
/// unless it is f64, on the CPU, and of the shape given.
class In {
public:
    In(std::string_view op, std::string_view argument, const Tensor& t) : tensor_(t.to_contiguous()) {
        expect(op, argument, tensor_, DType::f64);
        p_ = tensor_.data<double>();
    }
    In(std::string_view op, std::string_view argument, const Tensor& t, const Shape& shape) : In(op, argument, t) {
        expect(op, argument, tensor_, shape, DType::f64);
    }
    double operator[](int64_t i) const {
        return p_[i];
    }
    const double* at(int64_t i) const {
        return p_ + i;
    }
    const Shape& shape() const {
        return tensor_.shape();
    }
    int64_t rows() const {
        return tensor_.rows();
    }
    int64_t columns() const {
        return tensor_.shape().last();
    }

private:
    Tensor tensor_;
    const double* p_;
};

/// A result, zeros at first.
inline Tensor zeros(const Shape& shape) {
    return Tensor::zeros(shape, DType::f64);
}

/// y[i] = f(x[i]).
template <class F>
Tensor map(std::string_view op, const Tensor& x, F&& f) {
    const In in(op, "x", x);
    Tensor y = zeros(x.shape());
    double* py = y.mutable_data<double>();
    for (int64_t i = 0; i < y.numel(); ++i) py[i] = f(in[i]);
    return y;
}

/// y[i] = f(a[i], b[i]) for tensors of one shape.
template <class F>
Tensor map(std::string_view op, const Tensor& a, const Tensor& b, F&& f) {
    const In x(op, "the first argument", a), z(op, "the second argument", b, a.shape());
    Tensor y = zeros(a.shape());
    double* py = y.mutable_data<double>();
    for (int64_t i = 0; i < y.numel(); ++i) py[i] = f(x[i], z[i]);
    return y;
}

inline double sigmoid(double x) {
    return 1 / (1 + std::exp(-x));
}

}  // namespace wavllm::kernels::f64
