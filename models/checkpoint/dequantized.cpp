#include "models/checkpoint/dequantized.h"

namespace wavllm {

namespace {

class Dequantized final : public Checkpoint {
public:
    Dequantized(const Checkpoint& original, std::optional<DType> only)
        : Checkpoint(original.path()), original_(original) {
        for (const StoredTensor& t : original.tensors())
            tensors_.push_back(info(t.dtype).frozen_block && t.dtype == only.value_or(t.dtype)
                                   ? StoredTensor{t.name, DType::f32, t.shape, {}}
                                   : t);
        index_names();
    }

    const std::vector<StoredTensor>& tensors() const override {
        return tensors_;
    }
    const nlohmann::json& metadata() const override {
        return original_.metadata();
    }
    std::string_view format() const override {
        return original_.format();
    }
    void row(const StoredTensor& t, int64_t row, float* to) const override {
        original_.row(original_.at(t.name), row, to);
    }

private:
    const Checkpoint& original_;
    std::vector<StoredTensor> tensors_;
};

}  // namespace

std::unique_ptr<Checkpoint> dequantized(const Checkpoint& original, std::optional<DType> only) {
    return std::make_unique<Dequantized>(original, only);
}

}  // namespace wavllm
