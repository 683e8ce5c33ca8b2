#pragma once
#include "models/llama/config.h"
#include "tensor/tensor.h"

namespace wavllm {

/// Keys (after rotation) and values of a batch of requests, each with a length of its own, on the device of the model.
class KvCache {
public:
    KvCache(const LlamaConfig& config, int64_t batch, int64_t capacity, Device device = model_device());

    int64_t batch() const {
        return batch_;
    }
    int64_t capacity() const {
        return capacity_;
    }
    const Tensor& lengths() const {
        return lengths_;  ///< i64 [batch]: tokens held, the same for all layers between forward passes
    }
    int64_t length(int64_t request) const {
        return lengths_.data<int64_t>()[request];
    }
    const Tensor& keys(int64_t layer) const {
        return keys_[static_cast<size_t>(layer)];  ///< [batch, capacity, kv_heads, head_dim] in model_dtype()
    }
    const Tensor& values(int64_t layer) const {
        return values_[static_cast<size_t>(layer)];
    }
    /// i64 [batch] on the CPU: tokens held once the rows of a pass with these borders are written. Throws Error naming the
    /// request that would not fit.
    Tensor lengths_with(const Tensor& borders) const;
    /// Writes rows behind each request's tokens. k, v: [T, kv_heads, head_dim], requests end to end with these borders;
    /// lengths: lengths_with(borders), or its values on the device.
    void write(int64_t layer, const Tensor& k, const Tensor& v, const Tensor& borders, const Tensor& lengths);
    /// Counts the rows of a finished pass.
    void advance(const Tensor& borders);
    /// Request `to` becomes a copy of request `from`.
    void copy(int64_t from, int64_t to);
    /// Forgets everything after the first `length` tokens of a request.
    void truncate(int64_t request, int64_t length);

private:
    int64_t batch_, capacity_;
    std::vector<Tensor> keys_, values_;
    Tensor lengths_;
};

}  // namespace wavllm
