#pragma once
// How the tests find the differentiable form of an op: each file in autograd/ops/ registers its own under the op's
// name, taking inputs and parameters in the order of the op's cases.

#include <functional>

#include "kernels/common/op_case.h"

namespace wavllm {

using TapedOp = std::function<Tensor(Inputs, const Params&)>;

/// The taped op of this name, or null.
const TapedOp* derivative(const std::string& op);

namespace detail {
bool register_derivative(const char* op, Tensor (*taped)(Inputs, const Params&));
}

}  // namespace wavllm

#define DERIVATIVE(op_name)                                                                  \
    static ::wavllm::Tensor taped_##op_name(::wavllm::Inputs in, const ::wavllm::Params& p); \
    [[maybe_unused]] static const bool derivative_registered_##op_name =                     \
        ::wavllm::detail::register_derivative(#op_name, taped_##op_name);                    \
    static ::wavllm::Tensor taped_##op_name([[maybe_unused]] ::wavllm::Inputs in,            \
                                            [[maybe_unused]] const ::wavllm::Params& p)
