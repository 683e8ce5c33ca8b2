#include "wavllm/bench/cases.h"

#include "autograd/tape.h"
#include "tensor/text.h"

namespace wavllm {

std::vector<Tensor> inputs_on(Device device, Inputs inputs) {
    PurposeScope scope(Purpose::data);
    std::vector<Tensor> result;
    for (const Tensor& t : inputs)
        result.push_back(t.defined() && info(t.dtype()).floating && device != t.device() ? t.to(device) : t);
    return result;
}

TapedCase::TapedCase(const Op& op, const OpCase& c, Device device)
    : taped(op.has_gradient ? derivative(op.name) : nullptr), op_case(&c), inputs(inputs_on(device, c.inputs)) {
    for (size_t i = 0; i < inputs.size(); ++i) {
        const bool asked = c.differentiable.empty() || (i < c.differentiable.size() && c.differentiable[i]);
        if (!taped || !asked || !inputs[i].defined() || inputs[i].dtype() != DType::f32) continue;
        PurposeScope scope(Purpose::data);
        if (device == Device::cpu) inputs[i] = inputs[i].clone();
        set_requires_grad(inputs[i]);
        any = true;
    }
}

Tensor TapedCase::forward() const {
    return (*taped)(inputs, op_case->params);
}

Tensor TapedCase::gradient_of(const Tensor& y) const {
    PurposeScope scope(Purpose::data);
    return Tensor::full(y.shape(), 1, DType::f32, y.device());
}

void TapedCase::forget() const {
    for (const Tensor& t : inputs)
        if (t.defined() && requires_grad(t)) zero_grad(t);
}

std::vector<BenchCase> bench_cases(const std::string& op) {
    std::vector<BenchCase> cases;
    const auto add = [&](const Op& from) {
        for (const OpCase& c : from.cases)
            if (c.bench) cases.push_back({&from, &c});
    };
    if (!op.empty())
        add(find_op(op));
    else
        for (const auto& [name, tested] : ops()) add(*op_with_benchmarks(name));
    if (cases.empty()) throw UsageError("op \"{}\" has no case marked bench in kernels/{}/cases.cpp", op, op);
    return cases;
}

bool emulated_in_seconds(const OpCase& c) {
    return c.flops <= 1.2e9 && c.bytes <= 6.4e7;
}

const Op& find_op(const std::string& name) {
    if (const Op* op = op_with_benchmarks(name)) return *op;
    std::vector<std::string> known;
    for (const auto& [k, op] : ops()) known.push_back(k);
    throw UsageError("--op: no op \"{}\"; did you mean {}? There are: {}", printable(name), nearest_name(name, known),
                     fmt::join(known, ", "));
}

}  // namespace wavllm
