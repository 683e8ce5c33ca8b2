// Each fused op as its composition, on every device with CUDA bodies. Witness: the float64 references of the op's cases.

#include "kernels/common/fusion.h"
#include "tests/ops/device_support.h"

using namespace wavllm;
using namespace wavllm::tests;

TEST_CASE("device: every composition computes what the fused op does") {
    struct Off {
        explicit Off(std::string_view name) {
            set_fusion(name);
        }
        ~Off() {
            set_fusion("on");
        }
    };
    const SimScope scope(false, 3);
    int compared = 0;
    for (const FusionInfo& f : fusions()) {
        const auto it = ops().find(std::string(f.name));
        if (it == ops().end()) continue;  // part of a model, tested there
        const TapedOp* taped = derivative(it->first);
        REQUIRE(taped != nullptr);
        const Off off(f.name);
        for (const Device device : test_devices())
            for (const OpCase& c : it->second.cases) {
                CAPTURE(wavllm::name(device));
                CAPTURE(f.name);
                CAPTURE(c.name);
                const std::vector<Tensor> y = forward_and_backward(*taped, c, on_device(c.inputs, device));
                const Array64 expected = it->second.reference(to_64(c.inputs), c.params);
                // a composition in bf16 rounds once more for each op
                const double allowed = c.params.flag("bf16") ? std::max(4 * c.tolerance, 0x1p-7) : 2 * c.tolerance;
                CHECK(difference(y[0].values(), expected.v) <= allowed);
                ++compared;
            }
    }
    CHECK(compared > 20);
}
