// lora_linear and cross_entropy, fused against their compositions: values and gradients. Witness: the composition, made
// of ops that have their own float64 references.

#include <doctest/doctest.h>

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/common/fusion.h"
#include "kernels/common/op_case.h"

using namespace wavllm;

namespace {

/// The result and all gradients of a case.
std::vector<Tensor> run(const OpCase& c, const TapedOp& taped) {
    std::vector<Tensor> leaves, results;
    for (size_t i = 0; i < c.inputs.size(); ++i) {
        leaves.push_back(c.inputs[i].clone());
        if (c.differentiable[i]) set_requires_grad(leaves[i]);
    }
    const Tensor y = taped(leaves, c.params);
    backward(y, Tensor::full(y.shape(), 0.71));
    results.push_back(y.detach());
    for (const Tensor& t : leaves)
        if (requires_grad(t)) results.push_back(grad(t));
    return results;
}

void compare(const char* name) {
    const TapedOp* taped = derivative(name);
    REQUIRE(taped);
    int compared = 0;
    for (const OpCase& c : ops().at(name).cases) {
        if (c.bench) continue;
        CAPTURE(c.name);
        // In bf16 the two round a factor before and after it is multiplied by the strength or by dy: each once, by at
        // most 2^-9 of itself, so a term differs by up to 2^-8 where that number is no power of 2. The terms' sizes add
        // up to about twice the largest result.
        const double tolerance = c.params.flag("bf16") ? 0x1p-7 : 1e-5;
        const auto fused_results = run(c, *taped);
        set_fusion(name);
        const auto composed = run(c, *taped);
        set_fusion("on");
        REQUIRE(fused_results.size() == composed.size());
        for (size_t i = 0; i < composed.size(); ++i) {
            const auto a = fused_results[i].values(), b = composed[i].values();
            double scale = 1e-3;
            for (double v : b) scale = std::max(scale, std::abs(v));
            for (size_t k = 0; k < a.size(); ++k) {
                CHECK(std::abs(a[k] - b[k]) <= tolerance * scale);
                ++compared;
            }
        }
    }
    CHECK(compared > 100);
}

}  // namespace

TEST_CASE("lora_linear equals linear, dropout, matmul, matmul, scale, add") {
    compare("lora_linear");
}

TEST_CASE("cross_entropy equals linear and cross_entropy_logits") {
    compare("cross_entropy");
}

TEST_CASE("--fusion names what it knows") {
    CHECK_THROWS_WITH_AS(set_fusion("lora_lienar"), doctest::Contains("lora_linear"), UsageError);
    CHECK(fused("lora_linear"));
}
