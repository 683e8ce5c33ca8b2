#include "kernels/linear/packed_weight.h"

#include "kernels/gemm/gemm_blocks.h"

namespace wavllm {

DType frozen_dtype(std::string_view dtype) {
    if (dtype == "f32") return DType::f32;
    if (dtype == "bf16") return DType::bf16;
    if (dtype == "auto") return kernels::bf16_products() ? DType::bf16 : DType::f32;
    throw UsageError("frozen weights can be f32, bf16 or auto, but not \"{}\"", dtype);
}

PackedWeight PackedWeight::pack(const Tensor& w, DType panel_dtype) {
    if (!w.defined() || w.rank() != 2 || !w.contiguous() || !info(w.dtype()).floating)
        throw ShapeError("pack: a weight must be a contiguous matrix [out, in] of real numbers, but this is {}",
                         w.describe());
    PackedWeight p;
    p.out_ = w.dim(0);
    p.in_ = w.dim(1);
    PurposeScope scope(Purpose::weights);
    const bool blocks = panel_dtype == DType::bf16 && kernels::bf16_products() &&
                        kernels::fits_block_panels(w.dtype(), w.raw(), p.in_, p.out_);
    if (blocks) panel_dtype = w.dtype();
    p.panels_ = Tensor::empty({kernels::panel_elements(p.in_, p.out_, panel_dtype)}, panel_dtype);
    if (!w.label().empty()) p.panels_.set_label(w.label());
    if (blocks)
        kernels::pack_block_panels(w.dtype(), w.raw(), p.in_, p.out_, p.panels_.mutable_raw());
    else
        kernels::pack_weight(w.dtype(), w.raw(), p.in_, p.out_, panel_dtype, p.panels_.mutable_raw());
    return p;
}

Tensor PackedWeight::unpack() const {
    Tensor w = Tensor::empty({out_, in_});
    float* out = w.mutable_data<float>();
    std::vector<double> panels;
    if (kernels::in_blocks(storage())) {
        const Tensor pairs = Tensor::empty({kernels::panel_elements(in_, out_, DType::bf16)}, DType::bf16);
        auto* to = static_cast<bf16*>(const_cast<void*>(pairs.raw()));
        for (int64_t p = 0; p * kernels::kPanel < out_; ++p)
            kernels::expand_blocks(this->panels(), p, 0, in_ / kernels::kPanel, to + p * in_ * kernels::kPanel);
        panels = pairs.values();
    } else {
        panels = panels_.values();
    }
    const bool pairs = dtype() == DType::bf16;
    const int64_t depth = pairs ? (in_ + 1) / 2 * 2 : in_;
    for (int64_t n = 0; n < out_; ++n)
        for (int64_t k = 0; k < in_; ++k) {
            const int64_t panel = n / kernels::kPanel * depth * kernels::kPanel, column = n % kernels::kPanel;
            const int64_t at =
                pairs ? (k / 2 * kernels::kPanel + column) * 2 + 1 - k % 2 : k * kernels::kPanel + column;
            out[n * in_ + k] = static_cast<float>(panels[static_cast<size_t>(panel + at)]);
        }
    return w;
}

std::string PackedWeight::describe() const {
    if (!defined()) return "an undefined packed weight";
    return fmt::format("{}[{}, {}] packed {}", panels_.label().empty() ? "" : fmt::format("\"{}\" ", panels_.label()),
                       out_, in_, name(storage()));
}

}  // namespace wavllm
