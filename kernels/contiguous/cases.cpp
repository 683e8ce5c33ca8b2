#include "kernels/common/op_case.h"
#include "kernels/contiguous/contiguous.h"

namespace wavllm {

OP_CASES(contiguous) {
    op.same_bits = true;
    op.has_gradient = false;
    // Parameters a, b: the dimensions that are swapped; begin, end: what is kept of dimension b before that.
    const auto view = [](const Tensor& x, const Params& p) {
        const int b = static_cast<int>(p.i("b"));
        return x.slice(b, p.i("begin"), p.i("end")).transpose(static_cast<int>(p.i("a")), b);
    };
    op.forward = [view](Inputs in, const Params& p) { return kernels::contiguous(view(in[0], p)); };
    op.reference = [](Inputs64 in, const Params& p) {
        const Shape& shape = in[0].shape;
        const int a = static_cast<int>(p.i("a")), b = static_cast<int>(p.i("b")), rank = shape.rank();
        const Shape kept = shape.with(b, p.i("end") - p.i("begin"));
        Array64 y(kept.with(a, kept[b]).with(b, kept[a]));
        for (int64_t n = 0; n < y.shape.numel(); ++n) {
            int64_t index[Shape::kMaxRank] = {}, rest = n, at = 0;
            for (int i = rank - 1; i >= 0; --i) {
                index[i] = rest % y.shape[i];
                rest /= y.shape[i];
            }
            std::swap(index[a], index[b]);
            index[b] += p.i("begin");
            for (int i = 0; i < rank; ++i) at = at * shape[i] + index[i];
            y[n] = in[0][at];
        }
        return y;
    };
    const auto one = [&](const char* name, const Tensor& x, int a, int b, int64_t begin, int64_t end,
                         bool bench = false) {
        op.add({.name = name,
                .inputs = {x},
                .params = {{"a", static_cast<double>(a)},
                           {"b", static_cast<double>(b)},
                           {"begin", static_cast<double>(begin)},
                           {"end", static_cast<double>(end)}},
                .tolerance = 0,
                .bytes = 8.0 * static_cast<double>(x.numel()),
                .bench = bench});
    };
    one("columns of a matrix", random({5, 24}), 0, 0, 0, 5);
    one("a slice of columns", random({5, 24}), 1, 1, 8, 20);
    one("a slice that starts anywhere", random({5, 23}), 1, 1, 3, 20);
    one("transposed", random({7, 5}), 0, 1, 0, 5);
    one("transposed, several tiles", random({70, 33}), 0, 1, 0, 33);
    one("heads before rows", random({6, 3, 8}), 0, 1, 0, 3);
    one("last before first of three", random({33, 3, 40}), 0, 2, 2, 39);
    one("last two of four", random({2, 3, 9, 34}), 2, 3, 0, 34);
    one("five dimensions", random({2, 3, 4, 2, 5}), 1, 4, 1, 5);
    one("one column", random({4, 1}), 0, 1, 0, 1);
    one("nothing", random({0, 4}), 0, 1, 0, 4);
    one("bf16", random({34, 37}).to(DType::bf16), 0, 1, 0, 37);
    one("f64", random({34, 37}).to(DType::f64), 0, 1, 0, 37);
    one("i32", random_ids({4, 9, 3}, 100), 0, 2, 0, 3);
    one("640x576 transposed", random({640, 576}), 0, 1, 0, 576, true);
    one("9 heads of 640x64", random({640, 9, 64}), 0, 1, 0, 9, true);
}

}  // namespace wavllm
