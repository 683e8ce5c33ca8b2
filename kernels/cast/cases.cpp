#include "kernels/cast/cast.h"
#include "kernels/common/op_case.h"

namespace wavllm {

namespace {

/// x rounded to `digits` binary digits, ties to even, no smaller step than 2^lowest; beyond `largest` it is infinite.
double rounded(double x, int digits, int lowest, double largest) {
    if (x == 0 || !std::isfinite(x)) return x;
    const int exponent = std::max(std::ilogb(x) - digits + 1, lowest);
    const double y = std::ldexp(std::nearbyint(std::ldexp(x, -exponent)), exponent);
    return std::abs(y) > largest ? std::copysign(HUGE_VAL, y) : y;
}

}  // namespace

OP_CASES(cast) {
    op.same_bits = true;
    op.has_gradient = false;
    op.forward = [](Inputs in, const Params& p) { return kernels::cast(in[0], static_cast<DType>(p.i("dtype"))); };
    op.reference = [](Inputs64 in, const Params& p) {
        Array64 y = in[0];
        const auto dtype = static_cast<DType>(p.i("dtype"));
        if (dtype == DType::bf16)
            for (double& v : y.v) v = rounded(v, 8, -133, 0x1.FEp127);
        if (dtype == DType::f16)
            for (double& v : y.v) v = rounded(v, 11, -24, 65504);
        return y;
    };
    const auto one = [&](const char* name, Tensor x, DType to, bool bench = false) {
        op.add({.name = name,
                .inputs = {x},
                .params = {{"dtype", static_cast<double>(to)}},
                .tolerance = 0,  // a conversion is exact or wrong
                .bytes = 6.0 * static_cast<double>(x.numel()),
                .bench = bench});
    };
    for (const DType to : {DType::bf16, DType::f16}) {
        const bool half = to == DType::f16;
        one(half ? "f16 17 columns" : "bf16 17 columns", random({3, 17}), to);
        one(half ? "f16 subnormal" : "bf16 tiny", random({40}, half ? 1e-6 : 1e-37), to);
        one(half ? "f16 overflow" : "bf16 huge", random({40}, half ? 60000 : 1e38), to);
        one(half ? "f16 several chunks" : "bf16 several chunks", random({150, 131}), to);
        one(half ? "f16 to f32" : "bf16 to f32", random({3, 21}).to(to), DType::f32);
        one(half ? "f16 640x576" : "bf16 640x576", random({640, 576}), to, true);
        one(half ? "f16 to f32 640x576" : "bf16 to f32 640x576", random({640, 576}).to(to), DType::f32, true);
    }
}

}  // namespace wavllm
