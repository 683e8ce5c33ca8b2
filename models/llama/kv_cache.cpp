#include "models/llama/kv_cache.h"

#include <cstring>

#include "kernels/common/check.h"

namespace wavllm {

KvCache::KvCache(const LlamaConfig& config, int64_t batch, int64_t capacity) : batch_(batch), capacity_(capacity) {
    PurposeScope scope(Purpose::kv_cache);
    for (int64_t i = 0; i < config.layers; ++i)
        for (auto* side : {&keys_, &values_})
            side->push_back(Tensor::empty({batch, capacity, config.kv_heads, config.head_dim()}));
    lengths_ = Tensor::zeros({batch}, DType::i64);
}

void KvCache::write(int64_t layer, const Tensor& k, const Tensor& v, const Tensor& borders) {
    const auto b = kernels::borders_of("kv_cache", borders, k.dim(0));
    const int64_t row = k.dim(1) * k.dim(2);
    for (int64_t i = 0; i < batch_; ++i) {
        const int64_t begin = b[static_cast<size_t>(i)], rows = b[static_cast<size_t>(i) + 1] - begin;
        if (length(i) + rows > capacity_)
            throw Error(
                "kv_cache: request {} would hold {} tokens, but its capacity is {}; allow fewer new tokens or a "
                "shorter prompt",
                i, length(i) + rows, capacity_);
        for (const auto& [cache, source] : {std::pair{&keys_, &k}, {&values_, &v}}) {
            Tensor& t = (*cache)[static_cast<size_t>(layer)];
            std::memcpy(t.mutable_data<float>() + (i * capacity_ + length(i)) * row,
                        source->data<float>() + begin * row, static_cast<size_t>(rows * row) * sizeof(float));
        }
    }
}

void KvCache::advance(const Tensor& borders) {
    const int64_t* b = borders.data<int64_t>();
    int64_t* lengths = lengths_.mutable_data<int64_t>();
    for (int64_t i = 0; i < batch_; ++i) lengths[i] += b[i + 1] - b[i];
}

void KvCache::copy(int64_t from, int64_t to) {
    for (auto* side : {&keys_, &values_})
        for (Tensor& t : *side) {
            const int64_t row = t.dim(2) * t.dim(3);
            float* p = t.mutable_data<float>();
            std::memmove(p + to * capacity_ * row, p + from * capacity_ * row,
                         static_cast<size_t>(length(from) * row) * sizeof(float));
        }
    lengths_.mutable_data<int64_t>()[to] = length(from);
}

void KvCache::truncate(int64_t request, int64_t length) {
    int64_t& now = lengths_.mutable_data<int64_t>()[request];
    now = std::min(now, length);
}

}  // namespace wavllm
