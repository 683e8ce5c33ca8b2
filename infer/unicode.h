#pragma once
// The few Unicode facts that text scoring needs, in the sense of Python's str methods and `re` classes, because the
// published normalisers are defined by them. Works on code points (UTF-32).

#include <string>
#include <string_view>
#include <vector>

namespace wavllm::unicode {

/// UTF-8 to code points; a damaged byte becomes U+FFFD.
std::u32string to_utf32(std::string_view text);
std::string to_utf8(std::u32string_view text);

bool is_space(char32_t c);  ///< \s
bool is_digit(char32_t c);  ///< \d: decimal digits of any script
bool is_word(char32_t c);   ///< \w: letters, numbers, underscore
bool is_mark_nonspacing(char32_t c);
bool is_mark_symbol_or_punctuation(char32_t c);

/// 0..9 for a decimal digit of any script.
int digit_value(char32_t c);

/// True if position i of the text lies between a word character and something else (\b).
bool word_boundary(std::u32string_view text, size_t i);

/// Full lower-casing, with the final form of sigma at the end of words.
std::u32string to_lower(std::u32string_view text);
/// Compatibility decomposition (NFKD).
std::u32string decompose(std::u32string_view text);

/// Words between runs of white space.
std::vector<std::u32string> split_words(std::u32string_view text);

}  // namespace wavllm::unicode
