#include "autograd/ops/add.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/add/add.h"

namespace wavllm {

Tensor operator+(const Tensor& a, const Tensor& b) {
    return record("add", kernels::add(a, b), {&a, &b}, [] {
        return [](Backward& back) {
            for (int i = 0; i < 2; ++i)
                if (back.wants(i)) back.add(i, back.dy());
        };
    });
}

DERIVATIVE(add) {
    return in[0] + in[1];
}

}  // namespace wavllm
