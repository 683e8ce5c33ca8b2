#include "kernels/common/op_case.h"
#include "kernels/glu/glu.h"

namespace wavllm {

OP_CASES(glu) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params&) { return kernels::glu(in[0]); };
    op.reference = [](Inputs64 in, const Params&) {
        const Array64& x = in[0];
        const int64_t c = x.shape.last() / 2;
        Array64 y(x.shape.with(-1, c));
        for (int64_t r = 0; r < x.rows(); ++r)
            for (int64_t i = 0; i < c; ++i) y[r * c + i] = x[r * 2 * c + i] / (1 + std::exp(-x[r * 2 * c + c + i]));
        return y;
    };
    op.add({.name = "one element", .inputs = {random({1, 2})}});
    op.add({.name = "no multiple of the vector width", .inputs = {random({3, 14})}});
    op.add({.name = "three dimensions", .inputs = {random({2, 3, 66})}});
    op.add({.name = "saturated gates", .inputs = {random({3, 80}, 50)}});
    op.add({.name = "more than one chunk", .inputs = {random({33, 1024})}});
    op.add({.name = "640x(2x512)",
            .inputs = {random({640, 1024})},
            .bytes = 3.0 * 4 * 640 * 512,
            .flops = 20.0 * 640 * 512,
            .bench = true});
}

}  // namespace wavllm
