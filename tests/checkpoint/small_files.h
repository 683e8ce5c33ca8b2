#pragma once
// Small checkpoint files of every format, put together byte by byte: an independent writer for the readers' tests.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace wavllm::tests {

class Bytes {
public:
    template <class T>
    Bytes& put(T value) {
        char raw[sizeof(T)];
        std::memcpy(raw, &value, sizeof(T));
        text.append(raw, sizeof(T));
        return *this;
    }
    Bytes& raw(std::string_view more) {
        text += more;
        return *this;
    }
    Bytes& gguf_string(std::string_view value) {
        return put<uint64_t>(value.size()).raw(value);
    }
    Bytes& ct2_string(std::string_view value) {
        return put<uint16_t>(static_cast<uint16_t>(value.size() + 1)).raw(value).put<uint8_t>(0);
    }
    Bytes& pad(size_t alignment) {
        while (text.size() % alignment != 0) text += '\0';
        return *this;
    }
    std::string text;
};

/// Six key-values (nested array among them), tensors a: F32 ne [3, 2] = 1..6 and b: Q8_0 ne [32].
inline std::string small_gguf() {
    Bytes out;
    out.raw("GGUF").put<uint32_t>(3).put<uint64_t>(2).put<uint64_t>(6);
    out.gguf_string("general.alignment").put<uint32_t>(4).put<uint32_t>(64);
    out.gguf_string("name").put<uint32_t>(8).gguf_string("tiny");
    out.gguf_string("flag").put<uint32_t>(7).put<uint8_t>(1);
    out.gguf_string("eps").put<uint32_t>(6).put<float>(0.5f);
    out.gguf_string("nested").put<uint32_t>(9).put<uint32_t>(9).put<uint64_t>(2);
    out.put<uint32_t>(5).put<uint64_t>(2).put<int32_t>(-1).put<int32_t>(2);
    out.put<uint32_t>(8).put<uint64_t>(1).gguf_string("x");
    out.gguf_string("big").put<uint32_t>(10).put<uint64_t>(UINT64_MAX);
    out.gguf_string("a").put<uint32_t>(2).put<uint64_t>(3).put<uint64_t>(2).put<uint32_t>(0).put<uint64_t>(0);
    out.gguf_string("b").put<uint32_t>(1).put<uint64_t>(32).put<uint32_t>(8).put<uint64_t>(64);
    out.pad(64);
    for (int i = 1; i <= 6; ++i) out.put<float>(static_cast<float>(i));
    out.pad(64);
    out.put<uint16_t>(0x3C00);
    for (int i = 0; i < 32; ++i) out.put<int8_t>(static_cast<int8_t>(i));
    return out.text;
}

/// A setting, an f32 [2, 2], an f16 [3], and an alias of the first tensor.
inline std::string small_ctranslate2() {
    Bytes out;
    out.put<uint32_t>(6).ct2_string("TestSpec").put<uint32_t>(3).put<uint32_t>(3);
    out.ct2_string("encoder/num_heads").put<uint8_t>(0).put<uint8_t>(2).put<uint32_t>(2).put<int16_t>(-8);
    out.ct2_string("w").put<uint8_t>(2).put<uint32_t>(2).put<uint32_t>(2).put<uint8_t>(0).put<uint32_t>(16);
    for (int i = 1; i <= 4; ++i) out.put<float>(static_cast<float>(i));
    out.ct2_string("h").put<uint8_t>(1).put<uint32_t>(3).put<uint8_t>(4).put<uint32_t>(6);
    for (int i = 0; i < 3; ++i) out.put<uint16_t>(0x3C00);
    out.put<uint32_t>(1).ct2_string("v").ct2_string("w");
    return out.text;
}

inline std::string safetensors_of(std::string_view header, std::string_view data) {
    return Bytes().put<uint64_t>(header.size()).raw(header).raw(data).text;
}

/// Two tensors whose order in the data is not that of their names, and metadata.
inline std::string small_safetensors() {
    return safetensors_of(
        R"({"z":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"k":"v"},)"
        R"("a":{"dtype":"U8","shape":[1,3],"data_offsets":[8,11]},"s":{"dtype":"I64","shape":[],"data_offsets":[11,19]}})",
        Bytes().put<float>(1).put<float>(2).raw("abc").put<int64_t>(-5).text);
}

}  // namespace wavllm::tests
