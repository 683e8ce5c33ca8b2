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
    /// Goes back from y with a gradient of ones and forgets the inputs' gradients.
    void backward_from(const Tensor& y) const;
};

/// The op of this name. Throws UsageError with the nearest one.
const Op& find_op(const std::string& name);

}  // namespace wavllm
