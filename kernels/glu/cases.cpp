#include "kernels/common/op_case.h"
#include "kernels/glu/glu.h"

namespace wavllm {

OP_CASES(glu) {
    op.same_bits = true;
    op.forward = [](Inputs in, const Params&) { return kernels::glu(in[0]); };
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
