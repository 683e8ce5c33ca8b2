#include "kernels/cast/cast_body.h"
#include "kernels/common/elementwise.cuh"
#include "kernels/common/formats.cuh"

namespace wavllm::kernels {

namespace {

template <bool F16>
struct Narrow {
    const float* x;
    uint16_t* y;
    template <int V>
    __device__ void at(int64_t i) const {
        const auto a = Floats<V>::load(x + i);
        Shorts<V> b;
        for (int k = 0; k < V; ++k) b.v[k] = F16 ? to_f16(a.v[k]) : to_bf16(a.v[k]);
        b.store(y + i);
    }
};

template <bool F16>
struct Widen {
    const uint16_t* x;
    float* y;
    template <int V>
    __device__ void at(int64_t i) const {
        const auto a = Shorts<V>::load(x + i);
        Floats<V> b;
        for (int k = 0; k < V; ++k) b.v[k] = F16 ? from_f16(a.v[k]) : from_bf16(a.v[k]);
        b.store(y + i);
    }
};

/// Blocks one behind the other, as one row.
template <class Format>
struct Unpack {
    const char* x;
    float* y;
    template <int V>
    __device__ void at(int64_t, int64_t i) const {
        Format::template load<V>(x, i).store(y + i);
    }
};

void convert(const void* x, DType from, void* y, DType to, int64_t n) {
    if (from == DType::f32) {
        const auto* a = static_cast<const float*>(x);
        auto* b = static_cast<uint16_t*>(y);
        if (to == DType::f16)
            launch_elements("cast f32 to f16", Narrow<true>{a, b}, n, aligned<4>(a, b));
        else
            launch_elements("cast f32 to bf16", Narrow<false>{a, b}, n, aligned<4>(a, b));
    } else if (from == DType::q8_0) {
        launch_fours("cast q8_0 to f32", Unpack<Q8Rows>{static_cast<const char*>(x), static_cast<float*>(y)}, 1, n);
    } else if (from == DType::q4_1) {
        launch_fours("cast q4_1 to f32", Unpack<Q4Rows>{static_cast<const char*>(x), static_cast<float*>(y)}, 1, n);
    } else {
        const auto* a = static_cast<const uint16_t*>(x);
        auto* b = static_cast<float*>(y);
        if (from == DType::f16)
            launch_elements("cast f16 to f32", Widen<true>{a, b}, n, aligned<4>(a, b));
        else
            launch_elements("cast bf16 to f32", Widen<false>{a, b}, n, aligned<4>(a, b));
    }
}

WAVLLM_CUDA_BODY(cast_body, convert);

}  // namespace

}  // namespace wavllm::kernels
