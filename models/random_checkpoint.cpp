#include "models/random_checkpoint.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"
#include "tensor/philox.h"

namespace wavllm {

RandomCheckpoint::RandomCheckpoint(uint64_t seed, DType dtype)
    : Checkpoint("(random weights)"), seed_(seed), dtype_(dtype) {
    if (dtype != DType::f32 && dtype != DType::bf16)
        throw DTypeError("random weights are f32 or bf16, but not {}", name(dtype));
}

void RandomCheckpoint::matrix(const std::string& name, std::vector<int64_t> shape) {
    double fan_in = 1;
    for (size_t i = 1; i < shape.size(); ++i) fan_in *= static_cast<double>(shape[i]);
    rules_[name] = {static_cast<float>(std::sqrt(3.0 / fan_in)), true};
    tensors_.push_back({name, dtype_, std::move(shape), {}});
}

void RandomCheckpoint::constant(const std::string& name, std::vector<int64_t> shape, float value) {
    rules_[name] = {value, false};
    tensors_.push_back({name, DType::f32, std::move(shape), {}});
}

void RandomCheckpoint::finish() {
    index_names();
}

const std::vector<StoredTensor>& RandomCheckpoint::tensors() const {
    return tensors_;
}

const nlohmann::json& RandomCheckpoint::metadata() const {
    return metadata_;
}

std::string_view RandomCheckpoint::format() const {
    return "random";
}

void RandomCheckpoint::row(const StoredTensor& t, int64_t row, float* to) const {
    const Rule& rule = rules_.at(t.name);
    const int64_t columns = t.shape.back(), begin = row * columns, end = begin + columns;
    if (!rule.drawn) return static_cast<void>(std::fill(to, to + columns, rule.value));
    const Philox random(seed_, t.name, 0);
    for (int64_t i = begin / 4 * 4; i < end; i += 4) {
        const auto four = random.block(static_cast<uint64_t>(i / 4));
        for (int64_t j = std::max(i, begin); j < std::min(i + 4, end); ++j)
            to[j - begin] = rule.value * (2 * Philox::to_uniform(four[static_cast<size_t>(j - i)]) - 1);
    }
    if (dtype_ == DType::bf16)
        for (int64_t i = 0; i < columns; ++i) to[i] = to_f32(to_bf16(to[i]));
}

}  // namespace wavllm
