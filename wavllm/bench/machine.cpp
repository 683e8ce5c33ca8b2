#include "wavllm/bench/machine.h"

#include <fmt/format.h>

#include <cstdlib>
#include <thread>

#include "kernels/common/simd.h"
#include "kernels/cuda/timer.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/gemm_device.h"
#include "tensor/philox.h"
#include "tensor/tensor.h"
#include "tensor/thread_pool.h"
#include "wavllm/bench/device_clock.h"
#include "wavllm/bench/timing.h"

namespace wavllm {

namespace {

double peak_flops() {
    constexpr int64_t n = 1024;
    PurposeScope scope(Purpose::workspace);
    const Tensor a = Tensor::full({n, n}, 0.5), b = Tensor::full({n, n}, 0.25);
    Tensor packed = Tensor::empty({kernels::panel_elements(n, n)}), c = Tensor::empty({n, n});
    const kernels::Panels panels = kernels::pack_columns(b.data<float>(), n, n, n, packed.mutable_data<float>());
    float* out = c.mutable_data<float>();
    const Timing t = measure_all_of([&] { kernels::gemm(n, a.data<float>(), n, panels, out, n); }, 15);
    return 2.0 * n * n * n / t.fastest;
}

double peak_bandwidth() {
    constexpr int64_t elements = int64_t{512} << 18, chunk = int64_t{1} << 20;  // 512 MiB of f32 in chunks of 4 MiB
    PurposeScope scope(Purpose::workspace);
    Tensor buffer = Tensor::empty({elements}), sums = Tensor::zeros({elements / chunk});
    float* p = buffer.mutable_data<float>();
    float* s = sums.mutable_data<float>();
    parallel_for(elements, chunk, [&](int64_t begin, int64_t end) { std::fill(p + begin, p + end, 1.0f); });
    const Timing t = measure_all_of(
        [&] {
            parallel_for(elements, chunk, [&](int64_t begin, int64_t end) {
                using namespace kernels;
                vf acc[8] = {};  // independent chains, so that memory and not the latency of the sum is the limit
                for (int64_t i = begin; i < end; i += 8 * kLanes)
                    for (int j = 0; j < 8; ++j) acc[j] += load(p + i + j * kLanes);
                for (int j = 1; j < 8; ++j) acc[0] += acc[j];
                s[begin / chunk] = sum(acc[0]);
            });
        },
        7);
    return static_cast<double>(elements) * sizeof(float) / t.fastest;
}

Machine measure_gpu(Device device) {
    DeviceClock& clock = device_clock(device);
    const auto fastest = [&](const std::function<void()>& work) {
        return measure([&] { return clock.seconds(work); }, 9).fastest;
    };
    Machine machine{.device = device, .gpu = cuda::properties().name, .threads = num_threads()};
    PurposeScope scope(Purpose::workspace);
    {
        const Tensor from = Tensor::zeros({int64_t{1} << 27}, DType::f32, device);
        Tensor to = Tensor::empty(from.shape(), DType::f32, device);
        const double seconds =
            fastest([&] { device_memory(device).copy(to.mutable_device_raw(), from.device_raw(), from.bytes()); });
        machine.bandwidth = 2 * static_cast<double>(from.bytes()) / seconds;
    }
    constexpr int64_t n = 4096;
    const auto factor = [&](const char* purpose) {  // no constants: multiplying zeros costs a GPU less power
        Tensor t = Tensor::empty({n, n});
        const Philox rng(1, purpose, 0);
        float* p = t.mutable_data<float>();
        for (int64_t i = 0; i < t.numel(); ++i) p[i] = rng.normal(static_cast<uint64_t>(i));
        return t.to(device);
    };
    const Tensor a = factor("peak a"), b = factor("peak b");
    Tensor c = Tensor::empty({n, n}, DType::f32, device), a_rounded, b_rounded;
    kernels::Product p{.m = n,
                       .n = n,
                       .k = n,
                       .a = kernels::along(a.device_data<float>(), n),
                       .b = kernels::along(b.device_data<float>(), n),
                       .c = c.mutable_device_data<float>(),
                       .c_stride = n};
    const auto rate = [&](DType products) {
        return 2.0 * n * n * n / fastest([&] { kernels::device_gemm(device, p, products); });
    };
    machine.flops = rate(DType::f32);
    p.a = kernels::rounded(device, p.a, n, n, a_rounded);
    p.b = kernels::rounded(device, p.b, n, n, b_rounded);
    machine.bf16_flops = rate(DType::bf16);
    return machine;
}

}  // namespace

double load_average() {
    double load = 0;
    return getloadavg(&load, 1) == 1 ? load : 0;
}

Machine measure_machine(Device device) {
    const double load = load_average();  // before our own work counts
    Machine machine = device == Device::cpu
                          ? Machine{.threads = num_threads(), .flops = peak_flops(), .bandwidth = peak_bandwidth()}
                          : measure_gpu(device);
    machine.load = load;
    return machine;
}

nlohmann::ordered_json Machine::to_json() const {
    nlohmann::ordered_json out = {{"device", name(device)}};
    if (!gpu.empty()) out["gpu"] = gpu;
    out["threads"] = threads;
    out["gemm_f32_flops_per_second"] = flops;
    if (bf16_flops > 0) out["gemm_bf16_flops_per_second"] = bf16_flops;
    out[device == Device::cpu ? "read_bytes_per_second" : "copy_bytes_per_second"] = bandwidth;
    out["load_average"] = load;
    return out;
}

void Machine::print() const {
    if (device == Device::cpu)
        fmt::print("{} thread{}, f32 GEMM {:.0f} GFLOP/s, reads {:.1f} GB/s, load average {:.1f}\n", threads,
                   threads == 1 ? "" : "s", flops / 1e9, bandwidth / 1e9, load);
    else
        fmt::print("{}: GEMM f32 {:.1f}, bf16 {:.1f} TFLOP/s, copies {:.0f} GB/s; load average {:.1f}\n", gpu,
                   flops / 1e12, bf16_flops / 1e12, bandwidth / 1e9, load);
    if (load > std::thread::hardware_concurrency())
        fmt::print("other processes are using this machine: timings are longer than they would be\n");
    fmt::print("\n");
}

}  // namespace wavllm
