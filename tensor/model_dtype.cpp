#include "tensor/model_dtype.h"

namespace wavllm {

namespace {

thread_local DType t_model_dtype = DType::f32;

}  // namespace

DType model_dtype() {
    return t_model_dtype;
}

DType parse_model_dtype(std::string_view text) {
    for (DType dtype : {DType::f32, DType::f64})
        if (text == name(dtype)) return dtype;
    throw UsageError("unknown dtype \"{}\"; models compute in f32 or, to have a reference, in f64", text);
}

DTypeScope::DTypeScope(DType dtype) : previous_(t_model_dtype) {
    if (dtype != DType::f32 && dtype != DType::f64)
        throw UsageError("models compute in f32 or f64, but not in {}", name(dtype));
    if (dtype == DType::f64 && model_device() != Device::cpu)
        throw UsageError("f64 is the reference mode of the cpu, and device {} computes in f32; use --device cpu",
                         name(model_device()));
    t_model_dtype = dtype;
}

DTypeScope::~DTypeScope() {
    t_model_dtype = previous_;
}

Tensor model_input(const Tensor& t) {
    const Tensor x = t.dtype() == DType::f32 && model_dtype() == DType::f64 ? t.to(DType::f64) : t;
    return x.to(model_device());
}

}  // namespace wavllm
