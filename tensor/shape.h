#pragma once
// Shapes and strides of up to five dimensions, held in place (no heap).

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace wavllm {

class Shape {
public:
    static constexpr int kMaxRank = 5;

    Shape() = default;  ///< rank 0: a scalar
    Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
    /// Throws ShapeError for more than five dimensions, a negative one, or a product that overflows.
    explicit Shape(std::span<const int64_t> dims);

    int rank() const {
        return rank_;
    }
    int64_t operator[](int i) const {
        return dims_[static_cast<size_t>(i < 0 ? i + rank_ : i)];
    }
    int64_t last() const {
        return rank_ ? (*this)[-1] : 1;
    }
    int64_t numel() const;
    /// The same shape with dimension i replaced.
    Shape with(int i, int64_t value) const;
    bool operator==(const Shape& other) const;
    std::string str() const;  ///< "[4, 160, 576]"
    const int64_t* begin() const {
        return dims_.data();
    }
    const int64_t* end() const {
        return dims_.data() + rank_;
    }

private:
    std::array<int64_t, kMaxRank> dims_{};
    int rank_ = 0;
};

}  // namespace wavllm
