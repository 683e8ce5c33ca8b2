#pragma once
#include "autograd/derivative.h"
#include "kernels/common/op_case.h"

namespace wavllm {

/// The inputs of a case, ready to be differentiated by.
struct TapedCase {
    const TapedOp* taped = nullptr;
    const OpCase* op_case = nullptr;
    std::vector<Tensor> inputs;  ///< copies, those that the case differentiates by marked so
    bool any = false;            ///< whether any is

    TapedCase(const Op& op, const OpCase& c);
    /// Runs the taped form.
    Tensor forward() const;
    /// A gradient of ones for a result of forward().
    Tensor gradient_of(const Tensor& y) const;
    /// Forgets the gradients that backward() left in the inputs.
    void forget() const;
};

/// The op of this name. Throws UsageError with the nearest one.
const Op& find_op(const std::string& name);

}  // namespace wavllm
