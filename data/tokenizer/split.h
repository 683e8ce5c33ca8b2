#pragma once
// Pre-tokenisation: text is cut into pieces, and byte-pair merges never cross a cut.

#include <cstdint>
#include <string_view>
#include <vector>

namespace wavllm {

/// How a byte-level BPE vocabulary wants its text cut.
enum class Split : uint8_t {
    gpt2,    ///< the pattern of GPT-2 (Radford et al. 2019), which Whisper uses too
    smollm,  ///< every \p{N} alone first, then GPT-2's pattern within what lies between
};

/// Pieces of `text` (well-formed UTF-8), in order; together they are the text. GPT-2's pattern, first match wins:
///   's|'t|'re|'ve|'m|'ll|'d | ?\p{L}+ | ?\p{N}+ | ?[^\s\p{L}\p{N}]+ | \s+(?!\S) | \s+
/// with \s = Unicode White_Space.
std::vector<std::string_view> split_text(std::string_view text, Split split);

}  // namespace wavllm
