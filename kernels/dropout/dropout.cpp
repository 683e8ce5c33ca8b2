#include "kernels/dropout/dropout.h"

#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/dropout/dropout_body.h"
#include "kernels/dropout/dropout_f64.h"
#include "kernels/dropout/philox_lanes.h"

namespace wavllm::kernels {

namespace {

constexpr int kRowBits = 20;  // columns of a row's stream: index = row_key * 2^20 + column

/// uniform = (bits >> 8) / 2^24 >= p, as a comparison of integers: bits >= ceil(2^24 p) * 2^8
uint32_t threshold_of(float p) {
    return static_cast<uint32_t>(std::ceil(p * 0x1p24f)) << 8;
}

}  // namespace

void expect_dropout_key(std::string_view op, const DropoutKey& key, int64_t rows, int64_t columns) {
    if (!(key.p >= 0 && key.p < 1)) throw UsageError("{}: dropout p must be in [0, 1), but is {}", op, key.p);
    if (key.p == 0) return;
    expect(op, "row_keys", key.row_keys, {rows}, DType::i64);
    if (columns > int64_t{1} << kRowBits)
        throw ShapeError("{}: dropout masks have at most {} columns, but x has {}", op, int64_t{1} << kRowBits,
                         columns);
}

void dropout_row(const DropoutKey& key, int64_t row, const float* x, float* y, int64_t d) {
    if (key.p == 0) {
        if (x != y) std::memcpy(y, x, static_cast<size_t>(d) * sizeof(float));
        return;
    }
    const auto row_key = static_cast<uint64_t>(key.row_keys.data<int64_t>()[row]);
    const uint64_t block = row_key << (kRowBits - 2);  // of column 0; a row's blocks differ in the low 18 bits only
    const auto low = static_cast<uint32_t>(block), high = static_cast<uint32_t>(block >> 32);
    const uint32_t threshold = threshold_of(key.p);
    const vf factor = broadcast(1.0f / (1.0f - key.p));
    const auto bits = [&](int64_t column) {
        return philox_32_columns(low + static_cast<uint32_t>(column / 4), high, key.step, key.purpose, key.seed);
    };
    const auto drop = [&](vu32 b, vf v) { return b >= threshold ? v * factor : vf{}; };
    int64_t i = 0;
    for (; i + 4 * kLanes <= d; i += 4 * kLanes) {  // two independent chains hide the latency of the products
        const Bits32 b = bits(i), c = bits(i + 2 * kLanes);
        store(y + i, drop(b.first, load(x + i)));
        store(y + i + kLanes, drop(b.second, load(x + i + kLanes)));
        store(y + i + 2 * kLanes, drop(c.first, load(x + i + 2 * kLanes)));
        store(y + i + 3 * kLanes, drop(c.second, load(x + i + 3 * kLanes)));
    }
    for (; i < d; i += 2 * kLanes) {
        const Bits32 b = bits(i);
        const int64_t n = std::min<int64_t>(kLanes, d - i), m = std::min<int64_t>(kLanes, d - i - n);
        store(y + i, drop(b.first, load(x + i, n)), n);
        if (m > 0) store(y + i + n, drop(b.second, load(x + i + n, m)), m);
    }
}

DropoutMask mask_of(const DropoutKey& key, Device device) {
    if (key.p == 0) return {};
    return {.row_keys = key.row_keys.mirror(device).device_data<int64_t>(),
            .seed = key.seed,
            .purpose = key.purpose,
            .step = key.step,
            .threshold = threshold_of(key.p),
            .factor = 1.0f / (1.0f - key.p)};
}

Tensor dropout(const Tensor& x, const DropoutKey& key) {
    if (f64::runs(x)) return f64::dropout(x, key);
    const Device device = x.device();
    expect("dropout", "x", x, DType::f32, device);
    const int64_t d = x.shape().last();
    expect_dropout_key("dropout", key, x.rows(), d);
    if (key.p == 0) return x;
    Tensor y = Tensor::empty(x.shape(), DType::f32, device);
    if (device != Device::cpu) {
        on(dropout_body, device)(x.device_data<float>(), y.mutable_device_data<float>(), x.rows(), d,
                                 mask_of(key, device));
        return y;
    }
    const float* px = x.data<float>();
    float* py = y.mutable_data<float>();
    for_rows(x.rows(), d, [&](int64_t row) { dropout_row(key, row, px + row * d, py + row * d, d); });
    return y;
}

}  // namespace wavllm::kernels
