#pragma once
// Which parameters a model would have, found out without making one: what a file from a stranger says about sizes is
// compared with its tensors before any memory is taken for it.

#include <functional>
#include <string>

#include "tensor/tensor.h"

namespace wavllm {

/// While one lives, uniform_parameter, normal_parameter and constant_parameter (models/parameter.h) of this thread make
/// nothing: they hand name and shape to `visit`, which may throw, and return an undefined tensor. What is constructed
/// under it can only be thrown away.
class ParameterSurvey {
public:
    using Visit = std::function<void(const std::string& name, const Shape& shape)>;

    explicit ParameterSurvey(Visit visit);
    ~ParameterSurvey();
    ParameterSurvey(const ParameterSurvey&) = delete;
    ParameterSurvey& operator=(const ParameterSurvey&) = delete;

    /// Whether there is one; it has seen the parameter then.
    static bool sees(const std::string& name, const Shape& shape);

private:
    Visit visit_;
    ParameterSurvey* outer_;
};

}  // namespace wavllm
