// clamp: values and derivatives at the limits, by hand (relu and clamp of torch: 0 at the lower limit, dy at the upper).

#include "autograd/ops/clamp.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "autograd/tape.h"

using namespace wavllm;

TEST_CASE("clamp: limits, infinities and NaN by hand") {
    const float inf = std::numeric_limits<float>::infinity();
    Tensor x = Tensor::from(std::vector<float>{-1, 0, 1.5f, 3, 3.5f, inf, -inf}, {7});
    set_requires_grad(x);
    const Tensor y = clamp(x, 0, 3);
    CHECK(y.values() == std::vector<double>{0, 0, 1.5, 3, 3, 3, 0});
    backward(y, Tensor::full({7}, 2));
    CHECK(grad(x).values() == std::vector<double>{0, 0, 2, 2, 0, 0, 0});
    const Tensor nan = Tensor::full({3}, std::nan(""));
    for (const double v : clamp(nan, 0, 3).values()) CHECK(std::isnan(v));
    CHECK_THROWS_AS(clamp(x, 3, 3), UsageError);
}
