#pragma once
#include "autograd/derivative.h"
#include "kernels/common/op_case.h"

namespace wavllm {

/// The inputs of a case where its kernels run: numbers on the device, plans (ids, borders) on the CPU as everywhere.
std::vector<Tensor> inputs_on(Device device, Inputs inputs);

/// The inputs of a case, ready to be differentiated by.
struct TapedCase {
    const TapedOp* taped = nullptr;
    const OpCase* op_case = nullptr;
    std::vector<Tensor> inputs;  ///< copies on the device, those that the case differentiates by marked so
    bool any = false;            ///< whether any is

    TapedCase(const Op& op, const OpCase& c, Device device = Device::cpu);
    /// Runs the taped form.
    Tensor forward() const;
    /// A gradient of ones for a result of forward().
    Tensor gradient_of(const Tensor& y) const;
    /// Forgets the gradients that backward() left in the inputs.
    void forget() const;
};

/// A case to run.
struct BenchCase {
    const Op* op;
    const OpCase* op_case;
};
/// The bench cases of an op, or of all ("").
std::vector<BenchCase> bench_cases(const std::string& op);
/// Whether the emulator, which sees every load and store, is through with a case (and its way back) in seconds.
bool emulated_in_seconds(const OpCase& c);

/// The op of this name. Throws UsageError with the nearest one.
const Op& find_op(const std::string& name);

}  // namespace wavllm
