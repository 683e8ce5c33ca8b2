#pragma once
// Numbers of GGUF v3 that its reader and its writer share (ggml's docs/gguf.md).

#include <array>
#include <cstdint>
#include <string_view>

#include "tensor/dtype.h"

namespace wavllm {

/// Types of metadata values; `end` is the first number that is none.
enum class GgufType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64, end };

/// ggml's numbers of the tensor types that are read and written here.
struct GgufTensorType {
    uint32_t number;
    DType dtype;
    std::string_view name;
};
inline constexpr std::array<GgufTensorType, 9> kGgufTensorTypes{{{0, DType::f32, "F32"},
                                                                 {1, DType::f16, "F16"},
                                                                 {2, DType::q4_0, "Q4_0"},
                                                                 {3, DType::q4_1, "Q4_1"},
                                                                 {8, DType::q8_0, "Q8_0"},
                                                                 {26, DType::i32, "I32"},
                                                                 {27, DType::i64, "I64"},
                                                                 {28, DType::f64, "F64"},
                                                                 {30, DType::bf16, "BF16"}}};

inline constexpr uint64_t kGgufAlignment = 32;  ///< of tensors, where general.alignment does not say another

/// How a vocabulary marks its tokens: the same numbers in tokenizer.ggml.token_type and in a SentencePiece model.
enum class TokenType : int32_t { normal = 1, unknown, control, user_defined, unused, byte };

}  // namespace wavllm
