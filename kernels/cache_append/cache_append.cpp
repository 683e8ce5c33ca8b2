#include "kernels/cache_append/cache_append.h"

#include <cstring>

#include "kernels/cache_append/cache_append_body.h"
#include "kernels/cache_append/cache_append_f64.h"
#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "tensor/graph.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

namespace {

void expect_heads(const char* argument, const Tensor& t, int rank, DType dtype, Device device) {
    if (!t.defined() || t.rank() != rank || (t.dim(rank - 1) > 1 && t.stride(rank - 1) != 1))
        throw ShapeError("cache_append: {} must have {} dimensions, the last contiguous, but is {}", argument, rank,
                         t.describe());
    if (t.dtype() != dtype)
        throw DTypeError("cache_append: {} must be {}, but is {}", argument, name(dtype), t.describe());
    if (t.device() != device)
        throw Error("cache_append: {} is {}, but must be on {} as k; see Tensor::to", argument, t.describe(),
                    name(device));
}

std::span<const int64_t> check(const Tensor& k, const Tensor& v, const Tensor& borders, const Tensor& lengths,
                               const Tensor& k_cache, const Tensor& v_cache) {
    const Device device = k.device();
    const DType dtype = f64::runs(k) ? DType::f64 : DType::f32;
    expect_heads("k", k, 3, dtype, device);
    expect_heads("v", v, 3, dtype, device);
    expect_heads("k_cache", k_cache, 4, dtype, device);
    expect_heads("v_cache", v_cache, 4, dtype, device);
    if (!(k.shape() == v.shape()) || !(k_cache.shape() == v_cache.shape()) || k.dim(1) != k_cache.dim(2) ||
        k.dim(2) != k_cache.dim(3))
        throw ShapeError(
            "cache_append: k is {}, v {}, k_cache {}, v_cache {}; expected twice [T, Hkv, Dh] and twice "
            "[B, capacity, Hkv, Dh]",
            k.describe(), v.describe(), k_cache.describe(), v_cache.describe());
    const auto b = borders_of("cache_append", borders, k.dim(0));
    const int64_t requests = k_cache.dim(0), capacity = k_cache.dim(1);
    if (static_cast<int64_t>(b.size()) != requests + 1)
        throw ShapeError("cache_append: borders of {} requests, but the cache has {}", b.size() - 1, requests);
    if (lengths.device() != Device::cpu) {
        expect("cache_append", "lengths", lengths, {requests}, DType::i64, device);
        return b;
    }
    expect("cache_append", "lengths", lengths, {requests}, DType::i64);
    if (device != Device::cpu) expect_no_capture("cache_append with lengths on the CPU");
    for (int64_t i = 0; i < requests; ++i) {
        const int64_t length = lengths.data<int64_t>()[i],
                      rows = b[static_cast<size_t>(i) + 1] - b[static_cast<size_t>(i)];
        if (length < rows || length > capacity)
            throw ShapeError(
                "cache_append: request {} brings {} rows and would hold {} keys with them, but the cache has "
                "room for {}",
                i, rows, length, capacity);
    }
    return b;
}

}  // namespace

void cache_append(const Tensor& k, const Tensor& v, const Tensor& borders, const Tensor& lengths, Tensor k_cache,
                  Tensor v_cache) {
    const auto b = check(k, v, borders, lengths, k_cache, v_cache);
    const Device device = k.device();
    const int64_t rows = k.dim(0), requests = k_cache.dim(0), heads = k.dim(1), dh = k.dim(2);
    if (k.numel() == 0) return;
    if (f64::runs(k)) {
        f64::cache_append(k, b, lengths, k_cache);
        return f64::cache_append(v, b, lengths, v_cache);
    }
    if (device != Device::cpu) {
        const Tensor begins = borders.mirror(device), held = lengths.mirror(device);
        on(cache_append_body, device)({.k = k.device_data<float>(),
                                       .v = v.device_data<float>(),
                                       .k_cache = k_cache.mutable_device_data<float>(),
                                       .v_cache = v_cache.mutable_device_data<float>(),
                                       .k_row = k.stride(0),
                                       .k_head = k.stride(1),
                                       .v_row = v.stride(0),
                                       .v_head = v.stride(1),
                                       .k_request = k_cache.stride(0),
                                       .k_key = k_cache.stride(1),
                                       .k_cache_head = k_cache.stride(2),
                                       .v_request = v_cache.stride(0),
                                       .v_key = v_cache.stride(1),
                                       .v_cache_head = v_cache.stride(2),
                                       .borders = begins.device_data<int64_t>(),
                                       .lengths = held.device_data<int64_t>(),
                                       .rows = rows,
                                       .requests = requests,
                                       .capacity = k_cache.dim(1),
                                       .heads = heads,
                                       .dh = dh});
        return;
    }
    const int64_t* held = lengths.data<int64_t>();
    const auto bytes = static_cast<size_t>(dh) * sizeof(float);
    for (auto [source, cache] : {std::pair{&k, &k_cache}, {&v, &v_cache}}) {
        const float* in = source->data<float>();
        float* out = cache->mutable_data<float>();
        const int64_t row_stride = source->stride(0), head_stride = source->stride(1);
        const int64_t request_stride = cache->stride(0), key_stride = cache->stride(1), out_head = cache->stride(2);
        parallel_for(rows, row_chunk(heads * dh), [&](int64_t begin, int64_t end) {
            size_t i = 0;  // the request of the row
            for (int64_t t = begin; t < end; ++t) {
                while (b[i + 1] <= t) ++i;
                float* at = out + static_cast<int64_t>(i) * request_stride + (held[i] - (b[i + 1] - t)) * key_stride;
                for (int64_t h = 0; h < heads; ++h)
                    std::memcpy(at + h * out_head, in + t * row_stride + h * head_stride, bytes);
            }
        });
    }
}

}  // namespace wavllm::kernels
