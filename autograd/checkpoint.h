#pragma once
// Activation checkpointing (Chen et al. 2016): keep a block's input, drop what is inside, compute it again on the way
// back.

#include "autograd/tape.h"

namespace wavllm {

/// y = f(x) with only x kept. On the way back f runs a second time with recording on; since every op repeats to the bit
/// (dropout included), gradients are the same as without. f must capture by value what it needs and touch no state.
template <class F>
Tensor checkpoint(F f, const Tensor& x) {
    if (!grad_enabled() || !requires_grad(x)) return f(x);
    Tensor y;
    {
        NoGrad no_grad;
        y = f(x);
    }
    return record("checkpoint", y, {&x}, [&] {
        return [f, x = Saved(x)](Backward& b) {
            const Tensor dy = b.dy();
            Tensor leaf = x.get();
            SubTape tape;
            set_requires_grad(leaf);
            backward(f(leaf), dy);
            b.add(0, grad(leaf));
        };
    });
}

}  // namespace wavllm
