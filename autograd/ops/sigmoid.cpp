#include "autograd/ops/sigmoid.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/sigmoid/sigmoid.h"

namespace wavllm {

Tensor sigmoid(const Tensor& x) {
    return record("sigmoid", kernels::sigmoid(x), {&x}, [&] {
        return [x = Saved(x)](Backward& b) { b.add(0, kernels::sigmoid_backward(b.dy(), x.get())); };
    });
}

DERIVATIVE(sigmoid) {
    return sigmoid(in[0]);
}

}  // namespace wavllm
