#include "kernels/common/check.h"

namespace wavllm::kernels {

namespace {

void expect_kind(std::string_view op, std::string_view argument, const Tensor& t, DType dtype, Device device) {
    if (!t.defined()) throw ShapeError("{}: {} is an undefined tensor", op, argument);
    if (t.device() != device && device == Device::cpu)
        throw Error("{}: it has no body for device {} ({} is {}), or its other arguments are on the cpu", op,
                    name(t.device()), argument, t.describe());
    if (t.device() != device)
        throw Error("{}: {} is {}, but must be on {} as the other arguments; see Tensor::to", op, argument,
                    t.describe(), name(device));
    if (t.dtype() != dtype) throw DTypeError("{}: {} must be {}, but is {}", op, argument, name(dtype), t.describe());
}

}  // namespace

void expect(std::string_view op, std::string_view argument, const Tensor& t, DType dtype, Device device) {
    expect_kind(op, argument, t, dtype, device);
    if (!t.contiguous())
        throw ShapeError("{}: {} must be contiguous, but is a strided view: {}; call to_contiguous()", op, argument,
                         t.describe());
}

void expect(std::string_view op, std::string_view argument, const Tensor& t, const Shape& shape, DType dtype,
            Device device) {
    expect(op, argument, t, dtype, device);
    if (!(t.shape() == shape))
        throw ShapeError("{}: {} must have shape {}, but is {}", op, argument, shape.str(), t.describe());
}

void expect_rows(std::string_view op, std::string_view argument, const Tensor& t, DType dtype, Device device) {
    expect_kind(op, argument, t, dtype, device);
    if (t.rank() != 2 || (t.dim(1) > 1 && t.stride(1) != 1))
        throw ShapeError("{}: {} must be [rows, columns] with contiguous columns, but is {}", op, argument,
                         t.describe());
}

Tensor workspace(const Shape& shape, Device device, DType dtype) {
    PurposeScope scope(Purpose::workspace);
    return Tensor::empty(shape, dtype, device);
}

int64_t row_chunk(int64_t columns) {
    return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns));
}

std::span<const int64_t> borders_of(std::string_view op, const Tensor& borders, int64_t rows) {
    expect(op, "borders", borders, DType::i64);
    const std::span<const int64_t> b(borders.data<int64_t>(), static_cast<size_t>(borders.numel()));
    bool good = !b.empty() && b.front() == 0 && b.back() == rows;
    for (size_t i = 1; good && i < b.size(); ++i) good = b[i] >= b[i - 1];
    if (!good)
        throw ShapeError("{}: sequence borders [{}] must rise from 0 to the {} rows", op, fmt::join(b, ", "), rows);
    return b;
}

Tensor make_borders(std::span<const int64_t> lengths) {
    Tensor borders = Tensor::empty({static_cast<int64_t>(lengths.size()) + 1}, DType::i64);
    int64_t* p = borders.mutable_data<int64_t>();
    p[0] = 0;
    for (size_t i = 0; i < lengths.size(); ++i) p[i + 1] = p[i] + lengths[i];
    return borders;
}

}  // namespace wavllm::kernels
