#pragma once
// One switch for the values in which the released WavLLM code differs from the paper, or decides what the paper leaves
// open. This project's defaults are the other ones.

#include <span>
#include <string>
#include <string_view>

namespace wavllm {

/// Of a model, which must be trained with what it is used with: r limited to [0, 3] (the paper: no limits), norm epsilon
/// 1e-6 (LLaMA-2's configuration: 1e-5, with which it was trained). "released"; throws UsageError for another name.
std::span<const std::string> compat_model(std::string_view name);
/// Of decoding: sampling at temperature 0.5 (default: greedy, which gives the same answer twice), at most 512 new tokens
/// with the right prompt counted among them (default: data.max_new_tokens, of the answer alone), BOS in place of the
/// right prompt's first token (default: that token, as in training). Throws likewise.
std::span<const std::string> compat_decoding(std::string_view name);

}  // namespace wavllm
