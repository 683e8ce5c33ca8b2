#pragma once

#include <string>
#include <vector>

namespace wavllm {

/// The number part of Whisper's English normaliser (Radford et al. 2022, appendix C): spelled-out numbers become
/// digits, with signs, currencies and suffixes: "twenty five dollars" -> "$25", "nineteen sixties" -> "1960s", "one oh
/// one" -> "101", "minus three point one four" -> "-3.14", "double seven" -> "77", "ten per cent" -> "10%". Takes and
/// returns lower-case words (UTF-8). Every word is kept unless a number swallows it ("and" after "hundred"). Numbers
/// are exact at any length.
std::vector<std::string> digits_for_number_words(const std::vector<std::string>& words);

/// True for a word after which "and a half" means a decimal: zero to ninety, and hundred to decillion.
bool takes_a_half(const std::string& word);

}  // namespace wavllm
