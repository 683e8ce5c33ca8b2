#pragma once

#include <string>
#include <string_view>

namespace wavllm {

/// The English text normaliser of Whisper (Radford et al. 2022, appendix C), so that word error rates compare with
/// published ones. Same output, character for character, as the reference implementation for any UTF-8 text, its quirks
/// included ("1.5" -> "one.5", a leading space before "$one"). In order: lower case; text in brackets and parentheses
/// removed; hmm, mm, mhm, mmm, uh, um removed; contractions and titles expanded ("won't" -> "will not", "dr" ->
/// "doctor"); commas between digits and full stops removed; symbols, punctuation and diacritics removed; numbers as
/// digits (see english_numbers.h); cents joined to their currency; American spelling; single spaces.
std::string normalize_english(std::string_view text);

}  // namespace wavllm
