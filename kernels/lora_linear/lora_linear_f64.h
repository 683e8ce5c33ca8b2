#pragma once
// y = x W^T + ((drop(x) A) B) * scale in double, put together from its parts.

#include "kernels/add/add_f64.h"
#include "kernels/common/f64.h"
#include "kernels/dropout/dropout_f64.h"
#include "kernels/linear/linear_f64.h"
#include "kernels/lora_linear/lora_linear.h"
#include "kernels/matmul/matmul_f64.h"
#include "kernels/scale/scale_f64.h"
#include "kernels/segment_scale/segment_scale_f64.h"

namespace wavllm::kernels::f64 {

inline Tensor dropped(const Tensor& x, const DropoutKey* drop) {
    return drop && drop->p > 0 ? dropout(x, *drop) : x;
}

/// t times the strength of the update, which is a number or a vector a request.
inline Tensor strengthened(const Tensor& t, const LoraScale& s) {
    return s.r.defined() ? segment_scale(t, s.r, s.borders) : scale(t, s.s);
}

inline LoraForward lora_linear(const Tensor& x, const Tensor& w, const Tensor& a, const Tensor& b, const LoraScale& s,
                               const DropoutKey* drop) {
    const Tensor u = matmul(dropped(x, drop), a, false);
    return {add(linear(x, w, {}), strengthened(matmul(u, b, false), s)), u};
}

inline void lora_linear_backward(const Tensor& dy, const Tensor& x, const Tensor& u, const Tensor& w, const Tensor& a,
                                 const Tensor& b, const LoraScale& s, const DropoutKey* drop,
                                 const LoraGradients& out) {
    if (out.dr) segment_scale_backward_r(dy, matmul(u, b, false), s.borders, *out.dr);
    const Tensor d_update = strengthened(dy, s);  // of u B
    const Tensor du = matmul(d_update, b, true);  // of drop(x) A
    if (out.db) matmul_backward_b(d_update, u, false, *out.db);
    if (out.da) matmul_backward_b(du, dropped(x, drop), false, *out.da);
    if (out.dx) *out.dx = add(linear_backward_x(dy, w), dropped(matmul(du, a, true), drop));
}

}  // namespace wavllm::kernels::f64
