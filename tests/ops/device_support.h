#pragma once
// What the tests of ops on devices share.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/common/on_device.h"
#include "kernels/common/op_case.h"
#include "kernels/simt/emulator.h"
#include "tensor/philox.h"
#include "tests/devices.h"

namespace wavllm::tests {

/// For a scope: which build of the CUDA bodies `sim` runs, and in which order of threads.
class SimScope {
public:
    SimScope(bool checked, uint64_t seed) : checked_(kernels::sim_checked()), seed_(simt::seed()) {
        kernels::set_sim_checked(checked);
        simt::set_seed(seed);
    }
    ~SimScope() {
        kernels::set_sim_checked(checked_);
        simt::set_seed(seed_);
    }
    SimScope(const SimScope&) = delete;
    SimScope& operator=(const SimScope&) = delete;

private:
    bool checked_;
    uint64_t seed_;
};

/// The largest difference as a part of the largest finite expected value (or of 1e-3 if that is larger). NaN where only one
/// side is NaN, or only one is this infinity.
inline double difference(const std::vector<double>& actual, const std::vector<double>& expected) {
    REQUIRE(actual.size() == expected.size());
    double scale = 1e-3, worst = 0;
    for (const double e : expected) scale = std::max(scale, std::isfinite(e) ? std::abs(e) : 0.0);
    for (size_t i = 0; i < actual.size(); ++i) {
        if (actual[i] == expected[i] || (std::isnan(actual[i]) && std::isnan(expected[i]))) continue;
        const double error = std::isfinite(expected[i]) ? std::abs(actual[i] - expected[i]) / scale : NAN;
        if (!(error <= worst)) worst = error;  // NaN is the worst of all and stays
    }
    return worst;
}
inline double difference(const Tensor& actual, const Tensor& expected) {
    return difference(actual.values(), expected.values());
}

/// Both undefined, or of one shape and the same bytes.
inline bool same_bits(const Tensor& a, const Tensor& b) {
    if (!a.defined() || !b.defined()) return a.defined() == b.defined();
    const Tensor x = a.to(Device::cpu).to_contiguous(), y = b.to(Device::cpu).to_contiguous();
    return x.shape() == y.shape() && x.dtype() == y.dtype() && std::memcmp(x.raw(), y.raw(), x.bytes()) == 0;
}

/// What kernels compute on goes to the device; ids, borders and positions, which hosts plan with, stay, as the contracts
/// say, unless there is nothing else.
inline std::vector<Tensor> on_device(Inputs inputs, Device device) {
    bool all = true;
    for (const Tensor& t : inputs) all = all && t.defined() && !info(t.dtype()).floating;
    std::vector<Tensor> result;
    for (const Tensor& t : inputs)
        result.push_back(t.defined() && (all || info(t.dtype()).floating) ? t.to(device) : t);
    return result;
}

inline std::vector<Array64> to_64(Inputs inputs) {
    std::vector<Array64> result;
    for (const Tensor& t : inputs) result.push_back(t.defined() ? Array64(t) : Array64());
    return result;
}

/// The result of a case and the gradients of its inputs (undefined where there is none), on the device of the inputs. dy is
/// random, so a loss goes back with a factor that is not 1.
inline std::vector<Tensor> forward_and_backward(const TapedOp& taped, const OpCase& c, Inputs inputs) {
    std::vector<Tensor> leaves;
    for (size_t i = 0; i < inputs.size(); ++i) {
        leaves.push_back(inputs[i].defined() ? inputs[i].clone() : Tensor());
        if (!inputs[i].defined()) continue;
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
        result.push_back(t.defined() ? grad(t) : Tensor());
        if (result.back().defined()) CHECK(result.back().device() == t.device());
    }
    return result;
}

}  // namespace wavllm::tests
