#pragma once
// Gradient check as a library call: what backward() says against central differences.

#include <functional>

#include "kernels/common/op_case.h"

namespace wavllm {

struct GradientError {
    int input = 0;        ///< which input
    int64_t element = 0;  ///< its worst element
    double expected = 0, actual = 0;
    double relative = 0;  ///< |expected - actual| / largest |expected| of that input (at least 1e-3)
};

/// Differentiates sum(c * f(inputs)), c fixed random numbers, twice: backward() through `taped`, and central
/// differences of `reference` in float64, which are exact to about 1e-9 and so judge f32 kernels without noise of their
/// own (of an input in f64 over five points, and with the step out of three that fits best). At most `samples` elements
/// of each input are tried, spread evenly. Returns the worst one. inputs: those with differentiable[i] (all f32 and f64
/// ones if empty) are checked, on the device where they are.
GradientError gradient_check(const std::function<Tensor(Inputs)>& taped,
                             const std::function<Array64(Inputs64)>& reference, Inputs inputs,
                             const std::vector<bool>& differentiable = {}, int samples = 24);

/// For a function that has no float64 form (a whole model): central differences of `taped` itself in f32 with step
/// `epsilon`; good to a few per cent.
GradientError gradient_check(const std::function<Tensor(Inputs)>& taped, Inputs inputs, double epsilon,
                             int samples = 8);

}  // namespace wavllm
