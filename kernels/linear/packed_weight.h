#pragma once
#include "kernels/gemm/gemm.h"

namespace wavllm {

/// A frozen weight [out, in], packed once at load into the panels that the inner loop reads. It serves the forward pass
/// and, for the gradient that goes through it, the backward pass. It has no gradient itself.
class PackedWeight {
public:
    PackedWeight() = default;
    /// w: [out, in] contiguous, any floating dtype or block format. panel_dtype: f32 (exact), or bf16 (half the memory;
    /// the values are rounded to 8 bits of precision, sums stay in f32). Keeps w's label for error messages.
    static PackedWeight pack(const Tensor& w, DType panel_dtype = DType::f32);

    bool defined() const {
        return panels_.defined();
    }
    int64_t in_features() const {
        return in_;
    }
    int64_t out_features() const {
        return out_;
    }
    DType dtype() const {
        return panels_.dtype();
    }
    size_t bytes() const {
        return panels_.bytes();
    }
    kernels::Panels panels() const {
        return {panels_.raw(), panels_.dtype(), in_, out_};
    }
    /// The weight again, [out, in] f32 (as rounded by packing).
    Tensor unpack() const;
    std::string describe() const;

private:
    Tensor panels_;
    int64_t in_ = 0, out_ = 0;
};

}  // namespace wavllm
