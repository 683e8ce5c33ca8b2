// The normal distribution behind GELU against std::erfc in double, densely; GELU against values that
// torch.nn.functional.gelu gave in float64.

#include "kernels/gelu/gelu.h"

#include <doctest/doctest.h>

#include <numbers>

#include "kernels/gelu/normal_cdf.h"

using namespace wavllm;

TEST_CASE("the normal cdf is good to 1e-7, and to 1e-5 relative in the lower tail") {
    double worst = 0, worst_tail = 0;
    for (int step = -13 * 1024; step <= 13 * 1024; ++step) {
        const float x = static_cast<float>(step) / 1024;
        const double expected = 0.5 * std::erfc(-x / std::numbers::sqrt2);
        const double actual = kernels::normal_distribution(kernels::broadcast(x)).cdf[0];
        if (const double error = std::abs(actual - expected); !(error <= worst)) worst = error;  // NaN stays
        worst_tail = std::max(worst_tail, std::abs(actual / expected - 1));
    }
    CHECK(worst < 1e-7);
    CHECK(worst_tail < 1e-5);
}

TEST_CASE("gelu has torch's values") {
    const std::vector<float> x{-6, -3, -1.5, -1, -.5, 0, .25, 1, 1.7F, 4};
    const std::vector<double> expected{-5.919525869479969e-09, -0.00404969409489031, -0.10021080190328704,
                                       -0.15865525393145702,   -0.15426876936299344, 0.0,
                                       0.14967658142073093,    0.841344746068543,    1.6242387133104768,
                                       3.9998733150326675};
    const std::vector<double> y = kernels::gelu(Tensor::from(x, {10})).values();
    for (size_t i = 0; i < y.size(); ++i)
        CHECK(std::abs(y[i] - expected[i]) <= 3e-7 * std::max(std::abs(expected[i]), 1e-8));
}

TEST_CASE("gelu far out: the identity above, zero below, NaN stays") {
    const std::vector<float> x{1e6F, 40, -40, -1e6F, NAN};
    const std::vector<double> y = kernels::gelu(Tensor::from(x, {5})).values();
    CHECK(y[0] == 1e6);
    CHECK(y[1] == 40);
    CHECK(y[2] == 0);
    CHECK(y[3] == 0);
    CHECK(std::isnan(y[4]));
}
