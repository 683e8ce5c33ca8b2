#include "autograd/ops/conv1d.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "kernels/linear/linear.h"

namespace wavllm {

Tensor conv1d(const Tensor& x, const Tensor& borders, const Tensor& w, const Tensor& bias, ConvGeometry geometry) {
    return record("conv1d", kernels::conv1d(x, borders, w, bias, geometry), {&x, &w, &bias}, [&] {
        return [x = Saved::when(requires_grad(w), x), w = Saved::when(requires_grad(x), w), borders = Saved(borders),
                geometry](Backward& b) {
            if (b.wants(0)) b.add(0, kernels::conv1d_backward_x(b.dy(), borders.get(), w.get(), geometry));
            if (b.wants(1)) kernels::conv1d_backward_w(b.dy(), x.get(), borders.get(), geometry, b.accumulate(1));
            if (b.wants(2)) kernels::linear_backward_bias(b.dy(), b.accumulate(2));
        };
    });
}

Tensor conv1d(const Tensor& x, const Tensor& borders, const PackedConv& w, const Tensor& bias, ConvGeometry geometry) {
    return record("conv1d", kernels::conv1d(x, borders, w, bias, geometry), {&x, &bias}, [&] {
        return [w, borders = Saved(borders), geometry](Backward& b) {
            if (b.wants(0)) b.add(0, kernels::conv1d_backward_x(b.dy(), borders.get(), w, geometry));
            if (b.wants(1)) kernels::linear_backward_bias(b.dy(), b.accumulate(1));
        };
    });
}

DERIVATIVE(conv1d) {
    const ConvGeometry g{p.i("stride"), p.i("padding"), static_cast<int64_t>(p.number("groups", 1)),
                         p.flag("drop_last")};
    const Tensor borders = kernels::make_borders(p.list("lengths"));
    const DType dtype = p.flag("bf16") ? DType::bf16 : DType::f32;
    return p.flag("packed") ? conv1d(in[0], borders, PackedConv::pack(in[1].detach(), dtype, g.groups), in[2], g)
                            : conv1d(in[0], borders, in[1], in[2], g);
}

}  // namespace wavllm
