#pragma once
#include <functional>
#include <span>

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/gemm_body.h"

namespace wavllm {

/// What a frozen weight is packed in: "f32", "bf16", "int8" (a scale for each output channel), "q8_0", "q4_1" and "q4_0" (a
/// scale for each 32 weights; "q4" is q4_1), or "auto", which is bf16 where the CPU multiplies it
/// (kernels/gemm/gemm_bf16.h), else f32. Throws UsageError naming the known ones.
DType frozen_dtype(std::string_view name);
/// The names that frozen_dtype takes.
std::span<const std::string_view> frozen_dtype_names();

/// Fills row `row` of a weight; called from several threads at once.
using WeightRow = std::function<void(int64_t row, float* to)>;

/// A frozen weight [out, in], packed once at load into the panels that the inner loop reads. It serves the forward pass
/// and, for the gradient that goes through it, the backward pass. It has no gradient itself.
class PackedWeight {
public:
    PackedWeight() = default;
    /// w: [out, in] contiguous, any floating dtype or block format. panel_dtype: f32 (exact), or bf16 (half the memory,
    /// and on CPUs that multiply bf16 several times the speed: the weight and, in each product, its left factor are
    /// rounded to 8 bits of precision, sums stay in f32). A weight in q4_1 or q8_0 asked for in bf16 stays in its
    /// blocks where that pays (the CPU multiplies bf16) and every value allows it: the same results to the bit, less
    /// memory. A weight in f64 stays as it is, whatever panel_dtype (kernels/common/f64.h). Keeps w's label for error
    /// messages.
    ///
    /// int8, q8_0, q4_1, q4_0: quantised here (tensor/quantize.h) into blocks of 32 along `in`, which become bf16 where they
    /// are multiplied; int8 is held in the blocks of q8_0, q4_0 in those of q4_1, so that each kernel knows two layouts.
    /// A weight that already is in what is asked for stays as it is. Throws ShapeError if `in` is no multiple of 32.
    ///
    /// On a device other than the CPU it lies as rows that begin on 16 bytes, in f32 or bf16; blocks asked for in bf16 stay
    /// as the file has them, whatever their values. By default that is the device of w.
    static PackedWeight pack(const Tensor& w, DType panel_dtype = DType::f32);
    static PackedWeight pack(const Tensor& w, DType panel_dtype, Device device);
    /// The same from rows that are made when they are wanted, a panel at a time: the whole of them never lies in memory
    /// in f32.
    static PackedWeight from_rows(int64_t out, int64_t in, DType panel_dtype, Device device, const WeightRow& row,
                                  const std::string& label = "");

    bool defined() const {
        return panels_.defined();
    }
    Device device() const {
        return panels_.device();
    }
    int64_t in_features() const {
        return in_;
    }
    int64_t out_features() const {
        return out_;
    }
    /// What is multiplied: f32 or bf16; f64 for a weight that was.
    DType dtype() const {
        return panels_.dtype() == DType::f32 || panels_.dtype() == DType::f64 ? panels_.dtype() : DType::bf16;
    }
    /// What is stored: dtype(), or q4_1 or q8_0. In f64 the weight itself, [out, in].
    DType storage() const {
        return panels_.dtype();
    }
    size_t bytes() const {
        return panels_.bytes();
    }
    /// All of it, as it lies in memory: for checksums.
    const Tensor& stored() const {
        return panels_;
    }
    kernels::Panels panels() const {
        return {panels_.raw(), panels_.dtype(), in_, out_};
    }
    /// On a device other than the CPU: the rows, along.
    kernels::Lines lines() const {
        return {.data = panels_.device_raw(), .dtype = panels_.dtype(), .stride = panels_.dim(1)};
    }
    /// The weight again, [out, in] f32 (or f64) on the CPU (as rounded by packing).
    Tensor unpack() const;
    std::string describe() const;

private:
    static PackedWeight quantized(int64_t out, int64_t in, DType dtype, Device device, const WeightRow& row,
                                  const std::string& label);
    void lay_rows(const Tensor& w, DType dtype, Device device);

    Tensor panels_;
    int64_t in_ = 0, out_ = 0;
};

/// PackedWeight::pack(w, dtype) for cases and benchmarks, which ask for the same weight again and again: made once, and kept
/// until another weight comes.
const PackedWeight& packed_once(const Tensor& w, DType panel_dtype);

}  // namespace wavllm
