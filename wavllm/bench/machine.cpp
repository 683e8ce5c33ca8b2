#include "wavllm/bench/machine.h"

#include <fmt/format.h>

#include <cstdlib>
#include <thread>

#include "kernels/common/simd.h"
#include "kernels/gemm/gemm.h"
#include "tensor/philox.h"
#include "tensor/tensor.h"
#include "tensor/thread_pool.h"
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

}  // namespace

double load_average() {
    double load = 0;
    return getloadavg(&load, 1) == 1 ? load : 0;
}

Machine measure_machine() {
    const double load = load_average();  // before our own work counts
    return {num_threads(), peak_flops(), peak_bandwidth(), load};
}

nlohmann::ordered_json Machine::to_json() const {
    return {{"threads", threads},
            {"gemm_f32_flops_per_second", flops},
            {"read_bytes_per_second", bandwidth},
            {"load_average", load}};
}

void Machine::print() const {
    fmt::print("{} thread{}, f32 GEMM {:.0f} GFLOP/s, reads {:.1f} GB/s, load average {:.1f}\n", threads,
               threads == 1 ? "" : "s", flops / 1e9, bandwidth / 1e9, load);
    if (load > std::thread::hardware_concurrency())
        fmt::print("other processes are using this machine: timings are longer than they would be\n");
    fmt::print("\n");
}

}  // namespace wavllm
