#include "kernels/linear/packed_weight.h"

namespace wavllm {

PackedWeight PackedWeight::pack(const Tensor& w, DType panel_dtype) {
    if (!w.defined() || w.rank() != 2 || !w.contiguous() || !info(w.dtype()).floating)
        throw ShapeError("pack: a weight must be a contiguous matrix [out, in] of real numbers, but this is {}",
                         w.describe());
    PackedWeight p;
    p.out_ = w.dim(0);
    p.in_ = w.dim(1);
    PurposeScope scope(Purpose::weights);
    p.panels_ = Tensor::empty({kernels::panel_elements(p.in_, p.out_)}, panel_dtype);
    if (!w.label().empty()) p.panels_.set_label(w.label());
    kernels::pack_weight(w.dtype(), w.raw(), p.in_, p.out_, panel_dtype, p.panels_.mutable_raw());
    return p;
}

Tensor PackedWeight::unpack() const {
    Tensor w = Tensor::empty({out_, in_});
    float* out = w.mutable_data<float>();
    const std::vector<double> panels = panels_.values();
    for (int64_t n = 0; n < out_; ++n)
        for (int64_t k = 0; k < in_; ++k)
            out[n * in_ + k] = static_cast<float>(
                panels[static_cast<size_t>((n / kernels::kPanel * in_ + k) * kernels::kPanel + n % kernels::kPanel)]);
    return w;
}

std::string PackedWeight::describe() const {
    if (!defined()) return "an undefined packed weight";
    return fmt::format("{}[{}, {}] packed {}", panels_.label().empty() ? "" : fmt::format("\"{}\" ", panels_.label()),
                       out_, in_, name(dtype()));
}

}  // namespace wavllm
