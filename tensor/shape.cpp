#include "tensor/shape.h"

#include <algorithm>

#include "tensor/error.h"

namespace wavllm {

Shape::Shape(std::span<const int64_t> dims) {
    if (dims.size() > kMaxRank)
        throw ShapeError("a shape of {} dimensions; at most {} are supported", dims.size(), kMaxRank);
    rank_ = static_cast<int>(dims.size());
    std::copy(dims.begin(), dims.end(), dims_.begin());
    int64_t product = 1;
    for (int64_t d : dims) {
        if (d < 0 || __builtin_mul_overflow(product, d, &product))
            throw ShapeError("shape {} has a negative dimension or is too large", str());
    }
}

int64_t Shape::numel() const {
    int64_t product = 1;
    for (int64_t d : *this) product *= d;
    return product;
}

Shape Shape::with(int i, int64_t value) const {
    Shape result = *this;
    result.dims_[static_cast<size_t>(i < 0 ? i + rank_ : i)] = value;
    return result;
}

bool Shape::operator==(const Shape& other) const {
    return std::equal(begin(), end(), other.begin(), other.end());
}

std::string Shape::str() const {
    return fmt::format("[{}]", fmt::join(begin(), end(), ", "));
}

}  // namespace wavllm
