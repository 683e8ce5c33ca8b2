#include "kernels/common/finite.h"

#include <atomic>
#include <cmath>

#include "kernels/common/check.h"
#include "kernels/sum_all/sum_all.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

bool all_finite(const Tensor& t) {
    const Tensor x = t.to_contiguous();
    // in double no square of a float and no sum of them overflows
    if (x.device() != Device::cpu) return std::isfinite(sum_of_squares(x));
    if (x.dtype() == DType::f64) {
        const double* d = x.data<double>();
        return std::all_of(d, d + x.numel(), [](double v) { return std::isfinite(v); });
    }
    const float* p = x.data<float>();
    std::atomic<bool> finite{true};
    parallel_for(x.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
        float zero = 0;  // x * 0 is NaN exactly for infinities and NaN, and a sum keeps it
        for (int64_t i = begin; i < end; ++i) zero += p[i] * 0.0f;
        if (zero != 0.0f) finite = false;
    });
    return finite;
}

}  // namespace wavllm::kernels
