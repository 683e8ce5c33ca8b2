#include "kernels/common/op_case.h"

#include "tensor/philox.h"

namespace wavllm {

namespace {

std::map<std::string, void (*)(Op&)>& registrations() {
    static auto* r = new std::map<std::string, void (*)(Op&)>;
    return *r;
}

uint32_t next_stream = 0;  // reset for each op, so that a new op does not change another's inputs

Philox next_random(const char* purpose) {
    return {20260101, purpose, next_stream++};
}

}  // namespace

Params& Params::list(const std::string& name, std::vector<int64_t> values) {
    lists_[name] = std::move(values);
    return *this;
}

double Params::number(const std::string& name) const {
    const auto it = numbers_.find(name);
    if (it == numbers_.end()) throw Error("op case: no parameter \"{}\"", name);
    return it->second;
}

double Params::number(const std::string& name, double otherwise) const {
    const auto it = numbers_.find(name);
    return it == numbers_.end() ? otherwise : it->second;
}

const std::vector<int64_t>& Params::list(const std::string& name) const {
    const auto it = lists_.find(name);
    if (it == lists_.end()) throw Error("op case: no list \"{}\"", name);
    return it->second;
}

namespace {

constexpr int64_t kLargestTest = 1 << 19;  // elements; larger inputs are drawn for benchmarks only
bool for_benchmarks = false;

/// Real numbers as f64, whole numbers in their own dtype, absent inputs absent.
std::vector<Tensor> in_f64(Inputs64 in) {
    std::vector<Tensor> result;
    for (const Array64& a : in) {
        const bool absent = a.v.empty() && a.shape.numel() != 0;
        Tensor t = absent ? Tensor() : Tensor::from(a.v, a.shape);
        result.push_back(absent || info(a.dtype).floating ? t : t.to(a.dtype));
    }
    return result;
}

Op make_op(const std::string& name, void (*fill)(Op&), bool benchmarks) {
    PurposeScope scope(Purpose::data);
    for_benchmarks = benchmarks;
    next_stream = 0;
    Op op;
    op.name = name;
    fill(op);
    if (!op.reference)
        op.reference = [forward = op.forward](Inputs64 in, const Params& p) { return Array64(forward(in_f64(in), p)); };
    if (benchmarks) return op;
    std::erase_if(op.cases, [](const OpCase& c) { return c.bench; });
    for (const OpCase& c : op.cases)
        for (const Tensor& t : c.inputs)
            if (t.defined() && t.numel() > kLargestTest)
                throw Error("op case {} \"{}\": {} elements are too many for a test; say .bench = true", name, c.name,
                            t.numel());
    return op;
}

}  // namespace

const std::map<std::string, Op>& ops() {
    static const auto* all = [] {
        auto* made = new std::map<std::string, Op>;
        for (const auto& [name, fill] : registrations()) made->emplace(name, make_op(name, fill, false));
        return made;
    }();
    return *all;
}

const Op* op_with_benchmarks(const std::string& name) {
    static auto* made = new std::map<std::string, Op>;
    const auto registered = registrations().find(name);
    if (registered == registrations().end()) return nullptr;
    const auto it = made->find(name);
    return it != made->end() ? &it->second
                             : &made->emplace(name, make_op(name, registered->second, true)).first->second;
}

Tensor random(const Shape& shape, double scale, double offset) {
    Tensor t = Tensor::empty(shape);
    const Philox rng = next_random("case");
    if (t.numel() > kLargestTest && !for_benchmarks) return t;  // of a bench case, which make_ops() drops
    float* p = t.mutable_data<float>();
    for (int64_t i = 0; i < t.numel(); ++i)
        p[i] = static_cast<float>(rng.normal(static_cast<uint64_t>(i)) * scale + offset);
    return t;
}

Tensor random_ids(const Shape& shape, int64_t below) {
    Tensor t = Tensor::empty(shape, DType::i32);
    const Philox rng = next_random("ids");
    int32_t* p = t.mutable_data<int32_t>();
    for (int64_t i = 0; i < t.numel(); ++i)
        p[i] = static_cast<int32_t>(rng.bits(static_cast<uint64_t>(i)) % static_cast<uint64_t>(below));
    return t;
}

bool detail::register_op(const char* name, void (*fill)(Op&)) {
    registrations()[name] = fill;
    return true;
}

}  // namespace wavllm
