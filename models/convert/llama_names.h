#pragma once
// LLaMA's tensors in the namings of Meta, Hugging Face and GGUF, and the order of the rows of q and k that belongs to each.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace wavllm {

/// Meta and GGUF rotate neighbouring rows of a head (2i, 2i + 1) as a pair, Hugging Face rows i and i + half a head. So q
/// and k of one naming are those of the other with the rows of each head reordered.
struct LlamaName {
    std::string hugging_face, meta;
    bool is_hugging_face = false;  ///< the naming that the name was given in
    enum class Rows { plain, of_q, of_k } rows = Rows::plain;
};

/// A tensor's names; nothing if it is not one of LLaMA's frozen tensors.
std::optional<LlamaName> llama_name(std::string_view name);

/// The row of a head in Hugging Face's order that is row r in Meta's.
inline int64_t hugging_face_row(int64_t r, int64_t head_dim) {
    return r % 2 * (head_dim / 2) + r / 2;
}
/// The row of a head in Meta's order that is row r in Hugging Face's.
inline int64_t meta_row(int64_t r, int64_t head_dim) {
    const int64_t half = head_dim / 2;
    return r < half ? 2 * r : 2 * (r - half) + 1;
}

}  // namespace wavllm
