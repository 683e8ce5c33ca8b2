#include "autograd/ops/lora_linear.h"

#include "autograd/derivative.h"
#include "autograd/ops/add.h"
#include "autograd/ops/dropout.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/matmul.h"
#include "autograd/ops/scale.h"
#include "autograd/ops/segment_scale.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/common/fusion.h"
#include "kernels/linear/case_weights.h"

namespace wavllm {

WAVLLM_FUSION(lora_linear, "linear, dropout, matmul, matmul, scale or segment_scale, add");

namespace {

Tensor composed(const Tensor& x, const PackedWeight& w, const Tensor& a, const Tensor& b, const LoraScale& s,
                const DropoutKey* drop) {
    const Tensor masked = drop ? dropout(x, *drop) : x;
    const Tensor update = matmul(matmul(masked, a, false, w.dtype()), b, false, w.dtype());
    return linear(x, w) + (s.r.defined() ? segment_scale(update, s.r, s.borders) : scale(update, s.s));
}

}  // namespace

Tensor lora_linear(const Tensor& x, const PackedWeight& w, const Tensor& a, const Tensor& b, const LoraScale& s,
                   const DropoutKey* drop) {
    if (!fused("lora_linear")) return composed(x, w, a, b, s, drop);
    auto [y, u] = kernels::lora_linear(x, w, a, b, s, drop);
    return record("lora_linear", y, {&x, &a, &b, &s.r}, [&, u = u] {
        const DropoutKey key = drop ? *drop : DropoutKey{};
        return [x = Saved(x), u, w, a = Saved(a), b = Saved(b), s, r = Saved(s.r), key](Backward& back) {
            r.get();
            Tensor dx;
            kernels::lora_linear_backward(back.dy(), x.get(), u, w, a.get(), b.get(), s, &key,
                                          {.dx = back.wants(0) ? &dx : nullptr,
                                           .da = back.wants(1) ? &back.accumulate(1) : nullptr,
                                           .db = back.wants(2) ? &back.accumulate(2) : nullptr,
                                           .dr = back.wants(3) ? &back.accumulate(3) : nullptr});
            if (back.wants(0)) back.add(0, dx);
        };
    });
}

DERIVATIVE(lora_linear) {
    Tensor keys = Tensor::empty({in[0].rows()}, DType::i64);
    for (int64_t i = 0; i < keys.numel(); ++i) keys.mutable_data<int64_t>()[i] = 1000 + 3 * i;
    const DropoutKey drop{p.f("dropout"), 7, 21, 3, keys};
    const LoraScale s =
        in.size() < 5 ? LoraScale{p.number("scale")} : LoraScale{1, in[4], kernels::make_borders(p.list("lengths"))};
    return lora_linear(in[0], packed_once(in[1].detach(), packed_dtype(p)), in[2], in[3], s, &drop);
}

}  // namespace wavllm
