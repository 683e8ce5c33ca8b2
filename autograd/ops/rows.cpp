#include "autograd/ops/rows.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/rows/rows.h"

namespace wavllm {

Tensor concat_rows(std::span<const Tensor> tensors) {
    Tensor y = kernels::concat_rows(tensors);
    const auto at = [&](size_t i) { return i < tensors.size() ? &tensors[i] : nullptr; };
    return record("concat_rows", std::move(y), {at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)}, [&] {
        std::array<int64_t, kernels::kMaxConcat> rows{};
        for (size_t i = 0; i < tensors.size(); ++i) rows[i] = tensors[i].dim(0);
        return [rows](Backward& b) {
            int64_t begin = 0;
            for (int i = 0; i < static_cast<int>(rows.size()); ++i) {
                const int64_t end = begin + rows[static_cast<size_t>(i)];
                if (b.wants(i)) b.add(i, b.dy().slice(0, begin, end));
                begin = end;
            }
        };
    });
}

DERIVATIVE(concat_rows) {
    return concat_rows(in);
}

Tensor gather_rows(const Tensor& x, const Tensor& index) {
    return record("gather_rows", kernels::gather_rows(x, index), {&x}, [&] {
        return [index = Saved(index)](Backward& b) {
            kernels::gather_rows_backward(b.dy(), index.get(), b.accumulate(0));
        };
    });
}

DERIVATIVE(gather_rows) {
    return gather_rows(in[0], in[1]);
}

Tensor splice_rows(const Tensor& a, const Tensor& b, const Tensor& plan) {
    return record("splice_rows", kernels::splice_rows(a, b, plan), {&a, &b}, [&] {
        return [plan = Saved(plan)](Backward& back) {
            if (back.wants(0)) kernels::splice_rows_backward_a(back.dy(), plan.get(), back.accumulate(0));
            if (back.wants(1)) kernels::splice_rows_backward_b(back.dy(), plan.get(), back.accumulate(1));
        };
    });
}

DERIVATIVE(splice_rows) {
    return splice_rows(in[0], in[1], in[2]);
}

}  // namespace wavllm
