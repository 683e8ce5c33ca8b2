// silu_mul and glu: the fused op against its composition. Both compute each element by the same operations, so the
// witness is equality, not closeness.

#include <doctest/doctest.h>

#include "autograd/ops/glu.h"
#include "autograd/ops/silu_mul.h"
#include "autograd/tape.h"
#include "kernels/common/fusion.h"
#include "kernels/common/op_case.h"

using namespace wavllm;

namespace {

struct Outcome {
    std::vector<double> y, dx;
};

Outcome run(Tensor (*op)(const Tensor&), const Tensor& x, const Tensor& dy) {
    Tensor leaf = x.clone();
    set_requires_grad(leaf);
    const Tensor y = op(leaf);
    backward(y, dy);
    return {y.values(), grad(leaf).values()};
}

void compare(const char* name, Tensor (*op)(const Tensor&)) {
    CAPTURE(name);
    for (const int64_t half : {1, 7, 16, 45, 1536}) {
        const Tensor x = random({3, 2 * half}, 2), dy = random({3, half});
        set_fusion("on");
        const Outcome fused = run(op, x, dy);
        set_fusion(name);
        const Outcome composed = run(op, x, dy);
        set_fusion("on");
        CHECK(fused.y == composed.y);
        CHECK(fused.dx == composed.dx);
    }
}

}  // namespace

TEST_CASE("silu_mul is slice_columns, silu, mul") {
    compare("silu_mul", silu_mul);
}

TEST_CASE("glu is slice_columns, sigmoid, mul") {
    compare("glu", glu);
}

TEST_CASE("silu_mul and glu refuse an odd number of columns") {
    const Tensor x = random({2, 7});
    CHECK_THROWS_AS(silu_mul(x), ShapeError);
    CHECK_THROWS_AS(glu(x), ShapeError);
}
