#pragma once
// What real numbers models compute in. f32 everywhere but in the reference mode, f64, in which the same model, training
// and decoding code runs on the CPU with every tensor and every op in double (kernels/common/f64.h): slow, and exact
// enough to say of a float32 result how far it is off.

#include "tensor/tensor.h"

namespace wavllm {

/// What weights, trainable parameters, tables and caches that are made now are held in (models/weights.h,
/// models/parameter.h): f32, or what the innermost DTypeScope of this thread says. Everything else follows the tensors
/// it works on.
DType model_dtype();

/// "f32" or "f64"; throws UsageError that lists them otherwise.
DType parse_model_dtype(std::string_view text);

/// Throws UsageError for anything but f32 and f64, and for f64 where models are put on another device than the CPU.
class DTypeScope {
public:
    explicit DTypeScope(DType dtype);
    ~DTypeScope();
    DTypeScope(const DTypeScope&) = delete;
    DTypeScope& operator=(const DTypeScope&) = delete;

private:
    DType previous_;
};

/// t as a model reads it: on model_device(), and f32 widened to f64 in the reference mode. Itself where nothing changes.
Tensor model_input(const Tensor& t);

}  // namespace wavllm
