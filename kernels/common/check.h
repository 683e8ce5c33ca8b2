#pragma once
// What every kernel checks before it touches memory. Messages name the op, the argument, what was expected and what
// came.

#include <string_view>

#include "tensor/tensor.h"

namespace wavllm::kernels {

/// Throws unless t is defined, of this dtype, contiguous and on this device. An op that has a CUDA body names the device
/// of its first argument, so that all are on one; the others have nothing to say there, and nothing falls back.
void expect(std::string_view op, std::string_view argument, const Tensor& t, DType dtype = DType::f32,
            Device device = Device::cpu);
/// The same, and of exactly this shape.
void expect(std::string_view op, std::string_view argument, const Tensor& t, const Shape& shape,
            DType dtype = DType::f32, Device device = Device::cpu);
/// As expect(), but rows may lie apart: a 2-D view whose last dimension is contiguous.
void expect_rows(std::string_view op, std::string_view argument, const Tensor& t, DType dtype = DType::f32,
                 Device device = Device::cpu);

/// Uninitialised memory booked to workspace, gone at the end of the op.
Tensor workspace(const Shape& shape, Device device = Device::cpu, DType dtype = DType::f32);

/// Rows a chunk of a row-wise loop should have so that a chunk is about 16 Ki elements: fixed by the shape alone.
int64_t row_chunk(int64_t columns);

/// Variable-length sequences laid end to end, without padding: an i64 tensor of row borders [0, n0, n0+n1, ...] with
/// one element more than there are sequences. Returns them; throws ShapeError naming the op unless they start at 0,
/// never fall and end at `rows`.
std::span<const int64_t> borders_of(std::string_view op, const Tensor& borders, int64_t rows);
/// The borders of sequences of these lengths.
Tensor make_borders(std::span<const int64_t> lengths);

}  // namespace wavllm::kernels
