#pragma once
// Ops that move whole rows. All tensors f32 [rows, D] unless said otherwise.

#include <span>

#include "tensor/tensor.h"

namespace wavllm::kernels {

inline constexpr size_t kMaxConcat = 8;

/// The rows of all tensors [Ti, D] end to end: [sum Ti, D]. Backward is dy.slice(0, ...), a view. Throws ShapeError for
/// no tensors, more than kMaxConcat, or differing D.
Tensor concat_rows(std::span<const Tensor> tensors);

/// y[n,:] = x[index[n],:]; index: i32 [N]; y: [N, D]. Throws ShapeError naming an index that is not a row of x.
Tensor gather_rows(const Tensor& x, const Tensor& index);
/// dx[index[n],:] += dy[n,:] for n = 0, 1, ... in this order.
void gather_rows_backward(const Tensor& dy, const Tensor& index, Tensor& dx);

/// A sequence put together from two sources: y[t,:] = a[plan[t],:] where plan[t] >= 0, b[-1 - plan[t],:] where it is
/// negative. plan: i32 [T]; a: [Ta, D], b: [Tb, D] (either may have no rows); y: [T, D]. The input of the language
/// model: token embeddings a, speech embeddings b. Throws ShapeError naming an entry that is not a row of its source.
Tensor splice_rows(const Tensor& a, const Tensor& b, const Tensor& plan);
/// da[plan[t],:] += dy[t,:] where plan[t] >= 0, in order of t.
void splice_rows_backward_a(const Tensor& dy, const Tensor& plan, Tensor& da);
/// db[-1 - plan[t],:] += dy[t,:] where plan[t] < 0, in order of t.
void splice_rows_backward_b(const Tensor& dy, const Tensor& plan, Tensor& db);

}  // namespace wavllm::kernels
