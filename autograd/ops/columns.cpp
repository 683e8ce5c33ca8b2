#include "autograd/ops/columns.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/columns/columns.h"

namespace wavllm {

Tensor slice_columns(const Tensor& x, int64_t begin, int64_t end) {
    return record("slice_columns", kernels::slice_columns(x, begin, end), {&x}, [begin] {
        return [begin](Backward& b) { kernels::slice_columns_backward(b.dy(), begin, b.accumulate(0)); };
    });
}

DERIVATIVE(slice_columns) {
    return slice_columns(in[0], p.i("begin"), p.i("end"));
}

Tensor concat_columns(const Tensor& a, const Tensor& b) {
    return record("concat_columns", kernels::concat_columns(a, b), {&a, &b}, [&] {
        return [ca = a.shape().last(), c = a.shape().last() + b.shape().last()](Backward& back) {
            if (back.wants(0)) back.add(0, kernels::slice_columns(back.dy(), 0, ca));
            if (back.wants(1)) back.add(1, kernels::slice_columns(back.dy(), ca, c));
        };
    });
}

DERIVATIVE(concat_columns) {
    return concat_columns(in[0], in[1]);
}

}  // namespace wavllm
