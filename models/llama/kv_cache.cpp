#include "models/llama/kv_cache.h"

#include "kernels/cache_append/cache_append.h"
#include "kernels/common/check.h"
#include "tensor/model_dtype.h"

namespace wavllm {

KvCache::KvCache(const LlamaConfig& config, int64_t batch, int64_t capacity, Device device)
    : batch_(batch), capacity_(capacity) {
    PurposeScope scope(Purpose::kv_cache);
    for (int64_t i = 0; i < config.layers; ++i)
        for (auto* side : {&keys_, &values_})
            side->push_back(
                Tensor::empty({batch, capacity, config.kv_heads, config.head_dim()}, model_dtype(), device));
    lengths_ = Tensor::zeros({batch}, DType::i64);
}

Tensor KvCache::lengths_with(const Tensor& borders) const {
    const auto b = kernels::borders_of("kv_cache", borders, borders.data<int64_t>()[borders.numel() - 1]);
    Tensor lengths = lengths_.clone();
    for (int64_t i = 0; i < batch_; ++i) {
        int64_t& held = lengths.mutable_data<int64_t>()[i];
        held += b[static_cast<size_t>(i) + 1] - b[static_cast<size_t>(i)];
        if (held > capacity_)
            throw Error(
                "kv_cache: request {} would hold {} tokens, but its capacity is {}; allow fewer new tokens or a "
                "shorter prompt",
                i, held, capacity_);
    }
    return lengths;
}

void KvCache::write(int64_t layer, const Tensor& k, const Tensor& v, const Tensor& borders, const Tensor& lengths) {
    kernels::cache_append(k, v, borders, lengths, keys(layer), values(layer));
}

void KvCache::advance(const Tensor& borders) {
    const int64_t* b = borders.data<int64_t>();
    int64_t* lengths = lengths_.mutable_data<int64_t>();
    for (int64_t i = 0; i < batch_; ++i) lengths[i] += b[i + 1] - b[i];
}

void KvCache::copy(int64_t from, int64_t to) {
    for (auto* side : {&keys_, &values_})
        for (Tensor& t : *side)
            t.select(0, to).slice(0, 0, length(from)).assign(t.select(0, from).slice(0, 0, length(from)));
    lengths_.mutable_data<int64_t>()[to] = length(from);
}

void KvCache::truncate(int64_t request, int64_t length) {
    int64_t& now = lengths_.mutable_data<int64_t>()[request];
    now = std::min(now, length);
}

}  // namespace wavllm
