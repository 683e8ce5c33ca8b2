#include "autograd/ops/view.h"

#include "autograd/tape.h"

namespace wavllm {

Tensor reshape(const Tensor& x, const Shape& shape) {
    return record("reshape", x.reshape(shape), {&x},
                  [&] { return [shape = x.shape()](Backward& b) { b.add(0, b.dy().reshape(shape)); }; });
}

}  // namespace wavllm
