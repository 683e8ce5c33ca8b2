// Three steps of Adam against torch.optim.AdamW (2.5.1, lr 0.1, betas 0.9 and 0.98, eps 1e-6, weight decay 0.05), and
// the sum of squares that clipping is computed from.

#include "kernels/adam/adam.h"

#include <doctest/doctest.h>

#include "kernels/common/op_case.h"
#include "kernels/sum_all/sum_all.h"
#include "tensor/thread_pool.h"

using namespace wavllm;

TEST_CASE("three steps of adam are torch's") {
    Tensor param = Tensor::from(std::vector<float>{0.5F, -1.25F, 2, 0}, {4});
    Tensor m = Tensor::zeros({4}), v = Tensor::zeros({4});
    const std::vector<std::vector<float>> gradients{
        {0.3F, -0.2F, 0, 1e-7F}, {-0.1F, -0.4F, 2, 0}, {0.05F, 0.6F, -1, 3}};
    int64_t step = 0;
    for (const std::vector<float>& g : gradients) {
        std::vector<float> doubled = g;
        for (float& x : doubled) x *= 2;
        kernels::adam_step(param, Tensor::from(doubled, {4}), m, v, {0.9, 0.98, 1e-6, 0.05}, 0.1F, ++step, 0.5F);
    }
    const std::vector<double> expected{0.31268179416656494, -1.0432051420211792, 1.8736395835876465,
                                       -0.0766788199543953},
        expected_m{0.0203000009059906, 0.007800003979355097, 0.07999999821186066, 0.30000001192092896},
        expected_v{0.00197472027502954, 0.011104320175945759, 0.09839999675750732, 0.17999999225139618};
    for (size_t i = 0; i < 4; ++i) {
        CHECK(param.values()[i] == doctest::Approx(expected[i]).epsilon(1e-6));
        CHECK(m.values()[i] == doctest::Approx(expected_m[i]).epsilon(2e-6));
        CHECK(v.values()[i] == doctest::Approx(expected_v[i]).epsilon(2e-6));
    }
}

TEST_CASE("adam refuses step 0 and other shapes") {
    Tensor p = Tensor::zeros({4}), m = Tensor::zeros({4}), v = Tensor::zeros({4}), short_v = Tensor::zeros({3});
    CHECK_THROWS_AS(kernels::adam_step(p, p.clone(), m, v, {}, 0.1F, 0, 1), Error);
    CHECK_THROWS_AS(kernels::adam_step(p, p.clone(), m, short_v, {}, 0.1F, 1, 1), ShapeError);
}

TEST_CASE("the sum of squares shows a NaN or infinity anywhere") {
    for (const int64_t at : {0, 17, 20000, 49999}) {
        Tensor x = random({50000});
        CHECK(std::isfinite(kernels::sum_of_squares(x)));
        x.mutable_data<float>()[at] = INFINITY;
        CHECK(std::isinf(kernels::sum_of_squares(x)));
        x.mutable_data<float>()[at] = NAN;
        CHECK(std::isnan(kernels::sum_of_squares(x)));
    }
}
