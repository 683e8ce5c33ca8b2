#include "tensor/dtype.h"

#include <array>
#include <bit>
#include <cstring>

#include "tensor/error.h"

namespace wavllm {

namespace {

constexpr int kBlock = 32;
constexpr int kQ4_1Bytes = 2 + 2 + kBlock / 2;
constexpr int kQ8_0Bytes = 2 + kBlock;
constexpr int kQ4_0Bytes = 2 + kBlock / 2;

constexpr std::array<DTypeInfo, 11> kInfo = {{
    {"f64", 1, 8, true, false},
    {"f32", 1, 4, true, false},
    {"bf16", 1, 2, true, false},
    {"f16", 1, 2, true, false},
    {"i32", 1, 4, false, false},
    {"i64", 1, 8, false, false},
    {"u8", 1, 1, false, false},
    {"q4_1", kBlock, kQ4_1Bytes, true, true},
    {"q8_0", kBlock, kQ8_0Bytes, true, true},
    {"q4_0", kBlock, kQ4_0Bytes, true, true},
    {"int8", kBlock, kQ8_0Bytes, true, true},
}};

float load_f16(const uint8_t* p) {
    uint16_t bits;
    std::memcpy(&bits, p, sizeof bits);
    return to_f32(f16{bits});
}

}  // namespace

const DTypeInfo& info(DType dtype) {
    return kInfo[static_cast<size_t>(dtype)];
}

size_t bytes_for(DType dtype, size_t n) {
    const DTypeInfo& i = info(dtype);
    if (n % static_cast<size_t>(i.block_elements) != 0)
        throw DTypeError("{}: {} elements are not a whole number of blocks of {}", i.name, n, i.block_elements);
    return n / static_cast<size_t>(i.block_elements) * static_cast<size_t>(i.block_bytes);
}

float to_f32(bf16 value) {
    return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

bf16 to_bf16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    if ((bits & 0x7fffffffU) > 0x7f800000U) return {static_cast<uint16_t>((bits >> 16) | 0x40U)};
    return {static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
}

float to_f32(f16 value) {
    return static_cast<float>(std::bit_cast<_Float16>(value.bits));
}

f16 to_f16(float value) {
    return {std::bit_cast<uint16_t>(static_cast<_Float16>(value))};
}

void dequantize(DType dtype, const void* source, float* destination, size_t n) {
    const auto* bytes = static_cast<const uint8_t*>(source);
    const size_t blocks = bytes_for(dtype, n) / static_cast<size_t>(info(dtype).block_bytes);
    switch (dtype) {
        case DType::f32: std::memcpy(destination, source, n * sizeof(float)); return;
        case DType::f64:
            for (size_t i = 0; i < n; ++i) {
                double v;
                std::memcpy(&v, bytes + i * sizeof v, sizeof v);
                destination[i] = static_cast<float>(v);
            }
            return;
        case DType::bf16:
            for (size_t i = 0; i < n; ++i) {
                bf16 v;
                std::memcpy(&v, bytes + i * sizeof v, sizeof v);
                destination[i] = to_f32(v);
            }
            return;
        case DType::f16:
            for (size_t i = 0; i < n; ++i) destination[i] = load_f16(bytes + 2 * i);
            return;
        case DType::q4_1:
            // The low nibbles of the 16 bytes are elements 0..15, the high nibbles 16..31.
            for (size_t b = 0; b < blocks; ++b, bytes += kQ4_1Bytes, destination += kBlock) {
                const float scale = load_f16(bytes), minimum = load_f16(bytes + 2);
                for (int i = 0; i < kBlock / 2; ++i) {
                    const uint8_t q = bytes[4 + i];
                    destination[i] = static_cast<float>(q & 0xf) * scale + minimum;
                    destination[i + kBlock / 2] = static_cast<float>(q >> 4) * scale + minimum;
                }
            }
            return;
        case DType::q8_0:
        case DType::int8:
            for (size_t b = 0; b < blocks; ++b, bytes += kQ8_0Bytes, destination += kBlock) {
                const float scale = load_f16(bytes);
                for (int i = 0; i < kBlock; ++i)
                    destination[i] = static_cast<float>(static_cast<int8_t>(bytes[2 + i])) * scale;
            }
            return;
        case DType::q4_0:
            for (size_t b = 0; b < blocks; ++b, bytes += kQ4_0Bytes, destination += kBlock) {
                const float scale = load_f16(bytes);
                for (int i = 0; i < kBlock / 2; ++i) {
                    const uint8_t q = bytes[2 + i];
                    destination[i] = static_cast<float>((q & 0xf) - 8) * scale;
                    destination[i + kBlock / 2] = static_cast<float>((q >> 4) - 8) * scale;
                }
            }
            return;
        default: throw DTypeError("dequantize: {} holds no real numbers", name(dtype));
    }
}

}  // namespace wavllm
