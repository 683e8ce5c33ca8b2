// scalar_mul: values by hand, and the gradient of a batch cut in pieces. Witness: arithmetic on paper, the whole batch.

#include "autograd/ops/scalar_mul.h"

#include <doctest/doctest.h>

#include "autograd/tape.h"
#include "kernels/common/op_case.h"
#include "kernels/scalar_mul/scalar_mul.h"

using namespace wavllm;

TEST_CASE("scalar_mul: values and gradients by hand") {
    Tensor x = Tensor::from(std::vector<float>{1, -2, 3, 4}, {2, 2}), s = Tensor::full({1}, 0.5);
    set_requires_grad(x);
    set_requires_grad(s);
    const Tensor y = scalar_mul(x, s);
    CHECK(y.values() == std::vector<double>{0.5, -1, 1.5, 2});
    backward(y, Tensor::from(std::vector<float>{1, 2, 0, -1}, {2, 2}));
    CHECK(grad(x).values() == std::vector<double>{0.5, 1, 0, -0.5});
    CHECK(grad(s).values() == std::vector<double>{1 - 4 - 4});
    CHECK_THROWS_AS(scalar_mul(x, Tensor::zeros({2})), ShapeError);
}

TEST_CASE("scalar_mul: the gradient of s is the same bits for a batch cut in pieces") {
    const Tensor x = random({11, 70}), dy = random({11, 70});
    Tensor whole = Tensor::zeros({1}), pieces = Tensor::zeros({1});
    kernels::scalar_mul_backward_s(dy, x, whole);
    for (auto [begin, end] : {std::pair{0, 4}, std::pair{4, 11}})
        kernels::scalar_mul_backward_s(dy.slice(0, begin, end), x.slice(0, begin, end), pieces);
    CHECK(whole.item() == pieces.item());
}
