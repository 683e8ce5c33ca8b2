#include "kernels/sum_all/sum_all.h"

#include "kernels/common/chunk_sums.h"
#include "kernels/common/loops.h"
#include "kernels/common/on_device.h"
#include "kernels/sum_all/sum_all_body.h"
#include "kernels/sum_all/sum_all_f64.h"

namespace wavllm::kernels {

namespace {

constexpr int64_t kChunk = 1 << 14;

/// Sums of chunks of x as double, each made by chunk_sum(pointer, count), added in order.
template <class F>
double sum_of_chunks(const Tensor& x, F chunk_sum) {
    PurposeScope scope(Purpose::workspace);
    Tensor sums = Tensor::empty({(x.numel() + kChunk - 1) / kChunk}, DType::f64);
    const float* p = x.data<float>();
    double* ps = sums.mutable_data<double>();
    parallel_for(x.numel(), kChunk,
                 [=](int64_t begin, int64_t end) { ps[begin / kChunk] = chunk_sum(p + begin, end - begin); });
    double total = 0;
    for (int64_t i = 0; i < sums.numel(); ++i) total += ps[i];
    return total;
}

}  // namespace

Tensor sum_all(const Tensor& x) {
    if (f64::runs(x)) return f64::sum_all(x);
    const Device device = x.device();
    expect("sum_all", "x", x, DType::f32, device);
    if (device != Device::cpu) {
        Tensor chunks = workspace({sum_chunks(x.numel())}, device, DType::f64);
        Tensor y = Tensor::empty({1}, DType::f32, device);
        on(sum_all_body, device)(x.device_data<float>(), chunks.mutable_device_data<double>(),
                                 y.mutable_device_data<float>(), x.numel());
        return y;
    }
    const double total = sum_of_chunks(x, [](const float* p, int64_t n) {
        vf lanes{};
        for_lanes(n, [&](int64_t i, auto count) { lanes += load(p + i, count); });
        return static_cast<double>(sum(lanes));
    });
    Tensor y = Tensor::empty({1});
    y.mutable_data<float>()[0] = static_cast<float>(total);
    return y;
}

Tensor sum_all_backward(const Tensor& dy, const Shape& shape) {
    if (f64::runs(dy)) return f64::sum_all_backward(dy, shape);
    const Device device = dy.device();
    expect("sum_all backward", "dy", dy, {1}, DType::f32, device);
    Tensor dx = Tensor::empty(shape, DType::f32, device);
    if (device != Device::cpu) {
        on(sum_all_backward_body, device)(dy.device_data<float>(), dx.mutable_device_data<float>(), dx.numel());
        return dx;
    }
    const vf d = broadcast(dy.data<float>()[0]);
    float* pdx = dx.mutable_data<float>();
    for_elements(dx.numel(), [=](int64_t i, auto n) { store(pdx + i, d, n); });
    return dx;
}

double sum_of_squares(const Tensor& x) {
    if (f64::runs(x)) return f64::sum_of_squares(x);
    const Device device = x.device();
    expect("sum_of_squares", "x", x, DType::f32, device);
    if (device != Device::cpu) {
        double sum = 0;
        sums_of_squares({&x, 1}, {&sum, 1});
        return sum;
    }
    return sum_of_chunks(x, [](const float* p, int64_t n) {
        // f32 squares are exact in double and cannot overflow
        using half [[gnu::vector_size(32)]] = float;
        using vd [[gnu::vector_size(64)]] = double;
        vd even{}, odd{};
        for_lanes(n, [&](int64_t i, auto count) {
            const vf v = load(p + i, count);
            half parts[2];
            std::memcpy(parts, &v, sizeof parts);
            const vd a = __builtin_convertvector(parts[0], vd), b = __builtin_convertvector(parts[1], vd);
            even += a * a;
            odd += b * b;
        });
        even += odd;
        double total = 0;
        for (int i = 0; i < kLanes / 2; ++i) total += even[i];
        return total;
    });
}

void sums_of_squares(std::span<const Tensor> tensors, std::span<double> sums) {
    if (tensors.size() != sums.size())
        throw Error("sums_of_squares: {} tensors, but room for {} sums", tensors.size(), sums.size());
    if (tensors.empty()) return;
    const Device device = tensors[0].device();
    if (device == Device::cpu) {
        for (size_t i = 0; i < tensors.size(); ++i) sums[i] = sum_of_squares(tensors[i]);
        return;
    }
    int64_t chunk_count = 0;
    for (const Tensor& t : tensors) {
        expect("sum_of_squares", "x", t, DType::f32, device);
        chunk_count += sum_chunks(t.numel());
    }
    const auto count = static_cast<int64_t>(tensors.size());
    Tensor chunks = workspace({chunk_count}, device, DType::f64), totals = workspace({count}, device, DType::f64);
    constexpr size_t kMost = 128;  // slices on the stack: no heap in a step
    SquaresSlice slices[kMost];
    double *next_chunk = chunks.mutable_device_data<double>(), *next_total = totals.mutable_device_data<double>();
    for (size_t begin = 0; begin < tensors.size(); begin += kMost) {
        const auto part = tensors.subspan(begin, std::min(kMost, tensors.size() - begin));
        int64_t used = 0;
        for (size_t i = 0; i < part.size(); ++i) {
            slices[i] = {part[i].device_data<float>(), part[i].numel()};
            used += sum_chunks(part[i].numel());
        }
        on(sums_of_squares_body, device)(slices, static_cast<int64_t>(part.size()), next_chunk, next_total);
        next_chunk += used;
        next_total += part.size();
    }
    device_memory(device).copy_out(sums.data(), totals.device_raw(), totals.bytes());
}

}  // namespace wavllm::kernels
