#include "kernels/add/add.h"

#include "kernels/common/check.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

namespace {

void add_into(float* y, const float* a, const float* b, int64_t n) {
    parallel_for(n, 1 << 16, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y[i] = a[i] + b[i];
    });
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
    expect("add", "a", a);
    expect("add", "b", b, a.shape());
    Tensor y = Tensor::empty(a.shape());
    add_into(y.mutable_data<float>(), a.data<float>(), b.data<float>(), a.numel());
    return y;
}

void add_(Tensor& a, const Tensor& b) {
    expect("add", "a", a);
    expect("add", "b", b, a.shape());
    float* pa = a.mutable_data<float>();
    add_into(pa, pa, b.data<float>(), a.numel());
}

}  // namespace wavllm::kernels
