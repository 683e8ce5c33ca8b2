#include "models/parameter.h"

#include "autograd/tape.h"
#include "models/parameter_survey.h"
#include "tensor/model_dtype.h"
#include "tensor/philox.h"

namespace wavllm {

namespace {

thread_local ParameterSurvey* survey = nullptr;

}  // namespace

ParameterSurvey::ParameterSurvey(Visit visit) : visit_(std::move(visit)), outer_(survey) {
    survey = this;
}

ParameterSurvey::~ParameterSurvey() {
    survey = outer_;
}

bool ParameterSurvey::sees(const std::string& name, const Shape& shape) {
    if (survey == nullptr) return false;
    survey->visit_(name, shape);
    return true;
}

Tensor make_parameter(Tensor t, const std::string& name) {
    PurposeScope scope(Purpose::weights);
    if (t.dtype() != model_dtype()) t = t.to(model_dtype());
    t = t.to(model_device());
    t.set_label(name);
    set_requires_grad(t);
    return t;
}

Tensor uniform_parameter(const Shape& shape, double bound, uint64_t seed, const std::string& name) {
    if (ParameterSurvey::sees(name, shape)) return {};
    PurposeScope scope(Purpose::weights);
    Tensor t = Tensor::empty(shape);
    const Philox rng(seed, "init." + name, 0);
    float* p = t.mutable_data<float>();
    for (int64_t i = 0; i < t.numel(); ++i)
        p[i] = static_cast<float>((2.0 * rng.uniform(static_cast<uint64_t>(i)) - 1.0) * bound);
    return make_parameter(t, name);
}

Tensor normal_parameter(const Shape& shape, double deviation, uint64_t seed, const std::string& name) {
    if (ParameterSurvey::sees(name, shape)) return {};
    PurposeScope scope(Purpose::weights);
    Tensor t = Tensor::empty(shape);
    const Philox rng(seed, "init." + name, 0);
    float* p = t.mutable_data<float>();
    for (int64_t i = 0; i < t.numel(); ++i)
        p[i] = static_cast<float>(deviation * static_cast<double>(rng.normal(static_cast<uint64_t>(i))));
    return make_parameter(t, name);
}

Tensor constant_parameter(const Shape& shape, double value, const std::string& name) {
    if (ParameterSurvey::sees(name, shape)) return {};
    PurposeScope scope(Purpose::weights);
    return make_parameter(Tensor::full(shape, value), name);
}

int64_t count(const Parameters& parameters) {
    int64_t n = 0;
    for (const Parameter& p : parameters) n += p.tensor.numel();
    return n;
}

}  // namespace wavllm
