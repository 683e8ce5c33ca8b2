#include "autograd/ops/rope.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"

namespace wavllm {

namespace {

Tensor rotate(const Tensor& x, const Tensor& positions, const RopeTable& table, RopeLayout layout, bool inverse) {
    return record("rope", kernels::rope(x, positions, table, layout, inverse), {&x}, [&] {
        return [positions = Saved(positions), cos = Saved(table.cos), sin = Saved(table.sin), layout,
                inverse](Backward& b) {
            if (b.wants(0)) b.add(0, kernels::rope(b.dy(), positions.get(), {cos.get(), sin.get()}, layout, !inverse));
        };
    });
}

}  // namespace

Tensor rope(const Tensor& x, const Tensor& positions, const RopeTable& table, RopeLayout layout) {
    return rotate(x, positions, table, layout, false);
}

DERIVATIVE(rope) {
    return rotate(in[0], in[1], {in[2], in[3]},
                  p.flag("interleaved") ? RopeLayout::interleaved : RopeLayout::half_split, p.flag("inverse"));
}

}  // namespace wavllm
