#include "autograd/ops/softmax.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/softmax/softmax.h"

namespace wavllm {

Tensor softmax(const Tensor& x) {
    const Tensor y = kernels::softmax(x);
    return record("softmax", y, {&x}, [&] {
        return [y = Saved(y)](Backward& b) { b.add(0, kernels::softmax_backward(b.dy(), y.get())); };
    });
}

DERIVATIVE(softmax) {
    return softmax(in[0]);
}

}  // namespace wavllm
