#include "wavllm/bench/cases.h"

#include "autograd/tape.h"
#include "tensor/text.h"

namespace wavllm {

TapedCase::TapedCase(const Op& op, const OpCase& c)
    : taped(op.has_gradient ? derivative(op.name) : nullptr), op_case(&c) {
    for (size_t i = 0; i < c.inputs.size(); ++i) {
        const Tensor& input = c.inputs[i];
        const bool asked = c.differentiable.empty() || (i < c.differentiable.size() && c.differentiable[i]);
        if (!taped || !asked || !input.defined() || input.dtype() != DType::f32) {
            inputs.push_back(input);
            continue;
        }
        PurposeScope scope(Purpose::data);
        Tensor leaf = input.clone();
        set_requires_grad(leaf);
        inputs.push_back(leaf);
        any = true;
    }
}

Tensor TapedCase::forward() const {
    return (*taped)(inputs, op_case->params);
}

Tensor TapedCase::gradient_of(const Tensor& y) const {
    PurposeScope scope(Purpose::data);
    return Tensor::full(y.shape(), 1);
}

void TapedCase::forget() const {
    for (const Tensor& t : inputs)
        if (t.defined() && requires_grad(t)) zero_grad(t);
}

const Op& find_op(const std::string& name) {
    const auto it = ops_with_benchmarks().find(name);
    if (it != ops_with_benchmarks().end()) return it->second;
    std::vector<std::string> known;
    for (const auto& [k, op] : ops_with_benchmarks()) known.push_back(k);
    throw UsageError("--op: no op \"{}\"; did you mean {}? There are: {}", printable(name), nearest_name(name, known),
                     fmt::join(known, ", "));
}

}  // namespace wavllm
