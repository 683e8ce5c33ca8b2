#include "autograd/derivative.h"

namespace wavllm {

namespace {

std::map<std::string, TapedOp>& table() {
    static auto* t = new std::map<std::string, TapedOp>;
    return *t;
}

}  // namespace

const TapedOp* derivative(const std::string& op) {
    const auto it = table().find(op);
    return it == table().end() ? nullptr : &it->second;
}

bool detail::register_derivative(const char* op, Tensor (*taped)(Inputs, const Params&)) {
    table()[op] = taped;
    return true;
}

}  // namespace wavllm
