#include "kernels/linear/packed_weight.h"

#include <array>
#include <cstring>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/gemm/gemm_blocks.h"
#include "tensor/quantize.h"
#include "tensor/thread_pool.h"

namespace wavllm {

namespace {

constexpr std::array<std::string_view, 8> kFrozenNames{"auto", "f32", "bf16", "int8", "q8_0", "q4_1", "q4_0", "q4"};

constexpr bool quantizes(DType dtype) {
    return dtype == DType::int8 || dtype == DType::q8_0 || dtype == DType::q4_1 || dtype == DType::q4_0;
}

/// The layout that a format is held in.
constexpr DType held_in(DType dtype) {
    return dtype == DType::int8 ? DType::q8_0 : dtype == DType::q4_0 ? DType::q4_1 : dtype;
}

/// A row in the blocks of held_in(dtype).
void quantize_held(DType dtype, const float* x, int64_t in, uint8_t* out, std::vector<uint8_t>& scratch,
                   const std::string& label) {
    const auto columns = static_cast<size_t>(in);
    if (dtype != DType::q4_0) return quantize_row(dtype, x, columns, out, label);
    scratch.resize(bytes_for(dtype, columns));
    quantize_row(dtype, x, columns, scratch.data(), label);
    widen_q4_0(scratch.data(), out, columns / 32);
}

}  // namespace

DType frozen_dtype(std::string_view dtype) {
    if (dtype == "auto") return kernels::bf16_products() ? DType::bf16 : DType::f32;
    if (dtype == "q4") return DType::q4_1;
    for (const DType known : {DType::f32, DType::bf16, DType::int8, DType::q8_0, DType::q4_1, DType::q4_0})
        if (dtype == name(known)) return known;
    throw UsageError("frozen weights can be {}, but not \"{}\"", fmt::join(kFrozenNames, ", "), dtype);
}

std::span<const std::string_view> frozen_dtype_names() {
    return kFrozenNames;
}

PackedWeight PackedWeight::pack(const Tensor& w, DType panel_dtype) {
    return pack(w, panel_dtype, w.device());
}

/// Rows of f32 or bf16 on a device, zeros up to a multiple of 16 bytes.
void PackedWeight::lay_rows(const Tensor& w, DType dtype, Device device) {
    const Tensor source = w.to(Device::cpu);
    const int64_t stride = dtype == DType::bf16 ? kernels::bf16_line(in_) : (in_ + 3) / 4 * 4;
    Tensor rows = Tensor::zeros({out_, stride}, dtype);
    const auto* from = static_cast<const char*>(source.raw());
    const size_t row_bytes = bytes_for(source.dtype(), static_cast<size_t>(in_));
    char* to = static_cast<char*>(rows.mutable_raw());
    const size_t stride_bytes = bytes_for(dtype, static_cast<size_t>(stride));
    const int64_t chunk = kernels::row_chunk(in_);
    Tensor scratch = kernels::workspace({(out_ + chunk - 1) / chunk, in_});
    float* floats = scratch.mutable_data<float>();
    parallel_for(out_, chunk, [&](int64_t begin, int64_t end) {
        float* f = floats + begin / chunk * in_;
        for (int64_t n = begin; n < end; ++n) {
            char* row = to + static_cast<size_t>(n) * stride_bytes;
            dequantize(source.dtype(), from + static_cast<size_t>(n) * row_bytes, f, static_cast<size_t>(in_));
            if (dtype == DType::bf16)
                for (int64_t k = 0; k < in_; ++k) reinterpret_cast<bf16*>(row)[k] = to_bf16(f[k]);
            else
                std::memcpy(row, f, static_cast<size_t>(in_) * sizeof(float));
        }
    });
    panels_ = rows.to(device);
}

namespace {

/// A weight in int8 or q4_0 in the layout that kernels know.
Tensor as_held(const Tensor& w) {
    PurposeScope scope(Purpose::workspace);
    const Tensor source = w.to(Device::cpu);
    Tensor held = Tensor::empty(w.shape(), held_in(w.dtype()));
    if (w.dtype() == DType::q4_0)
        widen_q4_0(source.raw(), held.mutable_raw(), static_cast<size_t>(w.numel() / 32));
    else
        std::memcpy(held.mutable_raw(), source.raw(), source.bytes());
    return held.set_label(w.label());
}

}  // namespace

PackedWeight PackedWeight::pack(const Tensor& w, DType panel_dtype, Device device) {
    if (!w.defined() || w.rank() != 2 || !w.contiguous() || !info(w.dtype()).floating)
        throw ShapeError("pack: a weight must be a contiguous matrix [out, in] of real numbers, but this is {}",
                         w.describe());
    if (device == Device::cpu && w.device() != Device::cpu) return pack(w.to(device), panel_dtype, device);
    if (w.dtype() == DType::f64 && device == Device::cpu) {
        PackedWeight p;
        p.out_ = w.dim(0);
        p.in_ = w.dim(1);
        p.panels_ = w.detach();
        return p;
    }
    if (quantizes(panel_dtype) && w.dtype() != panel_dtype) {
        const Tensor source = w.to(Device::cpu);
        const int64_t in = w.dim(1);
        const size_t row_bytes = bytes_for(w.dtype(), static_cast<size_t>(in));
        const auto* bytes = static_cast<const char*>(source.raw());
        return quantized(
            w.dim(0), in, panel_dtype, device,
            [&](int64_t row, float* to) {
                dequantize(w.dtype(), bytes + static_cast<size_t>(row) * row_bytes, to, static_cast<size_t>(in));
            },
            std::string(w.label()));
    }
    if (w.dtype() == DType::q4_0 || w.dtype() == DType::int8) return pack(as_held(w), held_in(panel_dtype), device);
    // the blocks that were asked for: they stay as they are, multiplied in bf16
    const bool asked_for = quantizes(panel_dtype);
    if (asked_for) panel_dtype = DType::bf16;
    PackedWeight p;
    p.out_ = w.dim(0);
    p.in_ = w.dim(1);
    PurposeScope scope(Purpose::weights);
    if (device != Device::cpu) {
        if (panel_dtype != DType::f32 && panel_dtype != DType::bf16)
            throw DTypeError("pack: panels of {} are not supported; use f32 or bf16", name(panel_dtype));
        if (kernels::in_blocks(w.dtype()) && panel_dtype == DType::bf16)
            p.panels_ = w.detach().to(device);
        else
            p.lay_rows(w, panel_dtype, device);
        if (!w.label().empty()) p.panels_.set_label(w.label());
        return p;
    }
    const bool blocks = panel_dtype == DType::bf16 && (asked_for || kernels::bf16_products()) &&
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

PackedWeight PackedWeight::quantized(int64_t out, int64_t in, DType dtype, Device device, const WeightRow& row,
                                     const std::string& label) {
    const DType held = held_in(dtype);
    if (in % info(held).block_elements != 0)
        throw ShapeError(
            "pack: weight {}[{}, {}] in {} needs rows of whole blocks of {}; keep it in bf16 (--frozen bf16, "
            "model.frozen_dtype)",
            label.empty() ? "" : fmt::format("\"{}\" ", label), out, in, name(dtype), info(held).block_elements);
    PackedWeight p;
    p.out_ = out;
    p.in_ = in;
    PurposeScope scope(Purpose::weights);
    const bool here = device == Device::cpu;
    Tensor blocks =
        here ? Tensor::empty({kernels::panel_elements(in, out, held)}, held) : Tensor::empty({out, in}, held);
    auto* to = static_cast<uint8_t*>(blocks.mutable_raw());
    const size_t row_bytes = bytes_for(held, static_cast<size_t>(in)), panel_bytes = kernels::kPanel * row_bytes;
    parallel_for((out + kernels::kPanel - 1) / kernels::kPanel, 4, [&](int64_t begin, int64_t end) {
        std::vector<float> floats(static_cast<size_t>(in));
        std::vector<uint8_t> rows(panel_bytes), scratch;
        for (int64_t panel = begin; panel < end; ++panel) {
            const int64_t first = panel * kernels::kPanel, count = std::min(kernels::kPanel, out - first);
            uint8_t* at = here ? rows.data() : to + static_cast<size_t>(panel) * panel_bytes;
            for (int64_t n = 0; n < count; ++n) {
                row(first + n, floats.data());
                quantize_held(dtype, floats.data(), in, at + static_cast<size_t>(n) * row_bytes, scratch, label);
            }
            if (here) kernels::pack_block_panels(held, at, in, count, to + static_cast<size_t>(panel) * panel_bytes);
        }
    });
    p.panels_ = here ? blocks : blocks.to(device);
    if (!label.empty()) p.panels_.set_label(label);
    return p;
}

PackedWeight PackedWeight::from_rows(int64_t out, int64_t in, DType panel_dtype, Device device, const WeightRow& row,
                                     const std::string& label) {
    if (quantizes(panel_dtype)) return quantized(out, in, panel_dtype, device, row, label);
    // bf16 rounds each weight once more to what it is: the same panels as from f32
    Tensor rows;
    {
        PurposeScope scope(Purpose::workspace);
        rows = Tensor::empty({out, in}, panel_dtype);
    }
    parallel_for(out, kernels::row_chunk(in), [&](int64_t begin, int64_t end) {
        std::vector<float> floats(static_cast<size_t>(in));
        for (int64_t n = begin; n < end; ++n) {
            row(n, floats.data());
            if (panel_dtype == DType::f32)
                std::copy(floats.begin(), floats.end(), rows.mutable_data<float>() + n * in);
            else
                for (int64_t k = 0; k < in; ++k)
                    static_cast<bf16*>(rows.mutable_raw())[n * in + k] = to_bf16(floats[static_cast<size_t>(k)]);
        }
    });
    if (!label.empty()) rows.set_label(label);
    return pack(rows, panel_dtype, device);
}

Tensor PackedWeight::unpack() const {
    if (dtype() == DType::f64) return panels_.clone();
    Tensor w = Tensor::empty({out_, in_});
    float* out = w.mutable_data<float>();
    if (device() != Device::cpu) {
        const std::vector<double> rows = panels_.values();
        for (int64_t n = 0; n < out_; ++n)
            for (int64_t k = 0; k < in_; ++k)  // blocks are rounded to bf16 where they are multiplied
                out[n * in_ + k] =
                    dtype() == DType::bf16
                        ? to_f32(to_bf16(static_cast<float>(rows[static_cast<size_t>(n * panels_.dim(1) + k)])))
                        : static_cast<float>(rows[static_cast<size_t>(n * panels_.dim(1) + k)]);
        return w;
    }
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
    return fmt::format("{}[{}, {}] packed {}{}", panels_.label().empty() ? "" : fmt::format("\"{}\" ", panels_.label()),
                       out_, in_, name(storage()),
                       device() == Device::cpu ? "" : fmt::format(" on {}", wavllm::name(device())));
}

const PackedWeight& packed_once(const Tensor& w, DType panel_dtype) {
    struct Kept {
        Tensor w;  // held, so that no other weight can come to lie where it lay
        uint32_t version = 0;
        DType dtype = DType::f32;
        PackedWeight packed;
    };
    static auto* kept = new Kept;  // never destroyed: devices may be gone when static objects are
    const auto at = [](const Tensor& t) { return t.device() == Device::cpu ? t.raw() : t.device_raw(); };
    const bool same = kept->w.defined() && at(kept->w) == at(w) && kept->version == w.storage()->version() &&
                      kept->w.device() == w.device() && kept->w.shape() == w.shape() && kept->w.dtype() == w.dtype() &&
                      kept->dtype == panel_dtype;
    if (!same) {
        *kept = {};
        *kept = {w, w.storage()->version(), panel_dtype, PackedWeight::pack(w, panel_dtype)};
    }
    return kept->packed;
}

}  // namespace wavllm
