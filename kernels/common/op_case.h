#pragma once
// The one list of cases an op has. It drives the test against float64, the gradient check, fused against composed, and
// the benchmark. An op registers itself with OP_CASES in its own folder; nothing else lists it.
//
//     OP_CASES(square) {
//         op.forward = [](Inputs in, const Params&) { return kernels::square(in[0]); };
//         op.add({.name = "3x7", .inputs = {random({3, 7})}});
//         op.add({.name = "640x576", .inputs = {random({640, 576})}, .bytes = 2.0 * 640 * 576 * 4, .bench = true});
//     }

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace wavllm {

/// A dense row-major array of doubles: what references are computed in.
struct Array64 {
    Shape shape;
    std::vector<double> v;
    DType dtype = DType::f64;  ///< of the tensor it was

    Array64() = default;
    explicit Array64(const Shape& s) : shape(s), v(static_cast<size_t>(s.numel())) {}
    explicit Array64(const Tensor& t) : shape(t.shape()), v(t.values()), dtype(t.dtype()) {}
    double& operator[](int64_t i) {
        return v[static_cast<size_t>(i)];
    }
    double operator[](int64_t i) const {
        return v[static_cast<size_t>(i)];
    }
    int64_t rows() const {
        return shape.last() ? shape.numel() / shape.last() : 0;
    }
};

/// The attributes of one case by name: numbers, and lists of integers (sequence borders, ids).
class Params {
public:
    Params() = default;
    Params(std::initializer_list<std::pair<const std::string, double>> numbers) : numbers_(numbers) {}
    Params& list(const std::string& name, std::vector<int64_t> values);
    double number(const std::string& name) const;  ///< throws Error if the case does not give it
    double number(const std::string& name, double otherwise) const;
    float f(const std::string& name) const {
        return static_cast<float>(number(name));
    }
    int64_t i(const std::string& name) const {
        return static_cast<int64_t>(number(name));
    }
    bool flag(const std::string& name) const {
        return number(name, 0) != 0;
    }
    const std::vector<int64_t>& list(const std::string& name) const;

private:
    std::map<std::string, double> numbers_;
    std::map<std::string, std::vector<int64_t>> lists_;
};

using Inputs = std::span<const Tensor>;
using Inputs64 = std::span<const Array64>;

struct OpCase {
    std::string name;  ///< unique within the op
    std::vector<Tensor> inputs{};
    Params params{};
    /// Which inputs a gradient is checked for; empty: all f32 inputs.
    std::vector<bool> differentiable{};
    /// Largest error allowed, as a fraction of the largest absolute value of the reference (or of 1e-3 if that is
    /// larger).
    double tolerance = 2e-6;
    double gradient_tolerance = 1e-5;
    /// For the benchmark: bytes that must move and floating-point operations that must be done, at least.
    double bytes = 0, flops = 0;
    bool bench = false;  ///< a size worth timing; not run as a test
};

struct Op {
    std::string name;
    std::function<Tensor(Inputs, const Params&)> forward;
    /// By default `forward` in f64, for ops that have that (kernels/common/f64.h): the formula stands in one place.
    std::function<Array64(Inputs64, const Params&)> reference;
    bool has_gradient = true;  ///< false: no derivative is expected (sampling, adam, log_mel)
    bool same_bits = false;    ///< devices with CUDA bodies give the CPU's bits, backward too (but for cases in bf16)
    std::vector<OpCase> cases;

    void add(OpCase c) {
        cases.push_back(std::move(c));
    }
};

/// All ops with their test cases, by name; made on the first call.
const std::map<std::string, Op>& ops();
/// One op with its bench cases, whose large inputs are drawn on the first call; null if there is none of that name.
const Op* op_with_benchmarks(const std::string& name);

// Fixed pseudo-random inputs (Philox, keyed by an own counter: the same in every run).
Tensor random(const Shape& shape, double scale = 1.0, double offset = 0.0);  ///< normal * scale + offset
Tensor random_ids(const Shape& shape, int64_t below);                        ///< i32 in [0, below)

namespace detail {
bool register_op(const char* name, void (*fill)(Op&));
}

}  // namespace wavllm

#define OP_CASES(op_name)                                              \
    static void fill_cases_##op_name(::wavllm::Op&);                   \
    [[maybe_unused]] static const bool cases_registered_##op_name =    \
        ::wavllm::detail::register_op(#op_name, fill_cases_##op_name); \
    static void fill_cases_##op_name(::wavllm::Op& op)
