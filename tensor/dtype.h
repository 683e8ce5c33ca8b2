#pragma once
// Element types. Plain types have one element per item; frozen block formats (as GGUF stores them) pack 32 elements
// with their scale into one block: they can be stored, read, dequantised, looked up by row and packed for matmul, but
// never computed on or trained.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace wavllm {

enum class DType : uint8_t { f64, f32, bf16, f16, i32, i64, u8, q4_1, q8_0, q4_0, int8 };

struct DTypeInfo {
    std::string_view name;
    int block_elements;  ///< elements in one block; 1 for plain types
    int block_bytes;     ///< bytes of one block
    bool floating;       ///< holds real numbers (block formats too)
    bool frozen_block;   ///< a block format: read-only weights
};

/// Facts about a dtype.
const DTypeInfo& info(DType dtype);
inline std::string_view name(DType dtype) {
    return info(dtype).name;
}

/// Bytes of n elements. Throws DTypeError if n is not a whole number of blocks.
size_t bytes_for(DType dtype, size_t n);

struct bf16 {
    uint16_t bits;
};
struct f16 {
    uint16_t bits;
};

/// bf16 is the upper half of an f32; rounding is to nearest, ties to even, NaN stays NaN.
float to_f32(bf16 value);
float to_f32(f16 value);
bf16 to_bf16(float value);
f16 to_f16(float value);

/// Converts n elements of any floating dtype (block formats included) to f32.
/// For block formats n must be a multiple of the block; q4_1: 32 x 4 bit with f16 scale d and minimum m, x = d*q + m;
/// q8_0: 32 x int8 with f16 scale d, x = d*q; q4_0: 32 x 4 bit with f16 scale d, x = d*(q - 8) (layouts of GGUF v3);
/// int8: q8_0's layout where all blocks of a row have one scale, that of the output channel.
void dequantize(DType dtype, const void* source, float* destination, size_t n);

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<double> {
    static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<float> {
    static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<bf16> {
    static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<f16> {
    static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<int32_t> {
    static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<int64_t> {
    static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<uint8_t> {
    static constexpr DType value = DType::u8;
};

}  // namespace wavllm
