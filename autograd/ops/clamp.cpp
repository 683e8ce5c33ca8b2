#include "autograd/ops/clamp.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/clamp/clamp.h"

namespace wavllm {

Tensor clamp(const Tensor& x, double low, double high) {
    return record("clamp", kernels::clamp(x, low, high), {&x}, [&] {
        return
            [x = Saved(x), low, high](Backward& b) { b.add(0, kernels::clamp_backward(b.dy(), x.get(), low, high)); };
    });
}

DERIVATIVE(clamp) {
    return clamp(in[0], p.number("low"), p.number("high"));
}

}  // namespace wavllm
