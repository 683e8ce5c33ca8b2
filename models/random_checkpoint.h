#pragma once
#include "models/checkpoint/checkpoint.h"

namespace wavllm {

/// A checkpoint whose values no file holds: each row is drawn when it is asked for, so that the weights of a 7 B model go
/// straight into the format they are packed in. Philox(seed, tensor's name) at the element's index: the same on any machine
/// and thread count, and in any order.
class RandomCheckpoint final : public Checkpoint {
public:
    /// dtype: f32, or bf16 for values rounded to it, as released weights are.
    explicit RandomCheckpoint(uint64_t seed, DType dtype = DType::f32);

    /// Uniform with standard deviation 1 / sqrt(the product of all dimensions but the first), so that activations keep a
    /// size of about 1 at any width.
    void matrix(const std::string& name, std::vector<int64_t> shape);
    /// All of one value.
    void constant(const std::string& name, std::vector<int64_t> shape, float value);
    void constant(const std::string& name, int64_t n, float value) {
        constant(name, std::vector<int64_t>{n}, value);
    }
    /// To be called once all tensors are there.
    void finish();

    const std::vector<StoredTensor>& tensors() const override;
    const nlohmann::json& metadata() const override;
    std::string_view format() const override;
    void row(const StoredTensor& t, int64_t row, float* to) const override;

private:
    struct Rule {
        float value = 0;  ///< of a constant, or the bound of the uniform distribution
        bool drawn = false;
    };
    uint64_t seed_;
    DType dtype_;
    std::vector<StoredTensor> tensors_;
    std::unordered_map<std::string, Rule> rules_;
    nlohmann::json metadata_ = nlohmann::json::object();
};

}  // namespace wavllm
