#include "infer/unicode.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "tensor/error.h"

namespace wavllm::unicode {

namespace {

utf8proc_category_t category(char32_t c) {
    return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

/// A character that takes part in case at all, and one that case rules look through (Unicode 3.13, Final_Sigma).
bool cased(char32_t c) {
    const auto code = static_cast<utf8proc_int32_t>(c);
    return utf8proc_isupper(code) || utf8proc_islower(code) || category(c) == UTF8PROC_CATEGORY_LT;
}
bool case_ignorable(char32_t c) {
    switch (category(c)) {
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_ME:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_SK: return true;
        default: return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2019;
    }
}

bool final_sigma(std::u32string_view text, size_t i) {
    size_t before = i;
    while (before > 0 && case_ignorable(text[before - 1])) --before;
    if (before == 0 || !cased(text[before - 1])) return false;
    size_t after = i + 1;
    while (after < text.size() && case_ignorable(text[after])) ++after;
    return after == text.size() || !cased(text[after]);
}

}  // namespace

std::u32string to_utf32(std::string_view text) {
    std::u32string out;
    out.reserve(text.size());
    const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    const auto size = static_cast<utf8proc_ssize_t>(text.size());
    for (utf8proc_ssize_t at = 0; at < size;) {
        utf8proc_int32_t code = -1;
        const utf8proc_ssize_t n = utf8proc_iterate(bytes + at, size - at, &code);
        out += n < 1 ? char32_t{0xFFFD} : static_cast<char32_t>(code);
        at += n < 1 ? 1 : n;
    }
    return out;
}

std::string to_utf8(std::u32string_view text) {
    std::string out;
    out.reserve(text.size());
    for (char32_t c : text) {
        utf8proc_uint8_t bytes[4];
        const utf8proc_ssize_t n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
        out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
    }
    return out;
}

bool is_space(char32_t c) {
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0x2028 || c == 0x2029 ||
           category(c) == UTF8PROC_CATEGORY_ZS;
}

bool is_digit(char32_t c) {
    return category(c) == UTF8PROC_CATEGORY_ND;
}

bool is_word(char32_t c) {
    const utf8proc_category_t kind = category(c);
    return c == '_' || (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO) ||
           (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO);
}

bool is_mark_nonspacing(char32_t c) {
    return category(c) == UTF8PROC_CATEGORY_MN;
}

bool is_mark_symbol_or_punctuation(char32_t c) {
    const utf8proc_category_t kind = category(c);
    return (kind >= UTF8PROC_CATEGORY_MN && kind <= UTF8PROC_CATEGORY_ME) ||
           (kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_SO);
}

int digit_value(char32_t c) {
    if (c >= 0x1D7CE && c <= 0x1D7FF) return static_cast<int>((c - 0x1D7CE) % 10);  // mathematical digits
    // every other script has its ten digits in a row, from a code point that ends in hexadecimal 0 or 6
    const int low = static_cast<int>(c % 16);
    return is_digit(c - static_cast<char32_t>(low)) ? low : low - 6;
}

bool word_boundary(std::u32string_view text, size_t i) {
    const bool before = i > 0 && is_word(text[i - 1]);
    const bool after = i < text.size() && is_word(text[i]);
    return before != after;
}

std::u32string to_lower(std::u32string_view text) {
    std::u32string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
        const char32_t c = text[i];
        if (c == 0x130) {
            out += U"i\u0307";
        } else if (c == 0x3A3) {
            out += final_sigma(text, i) ? char32_t{0x3C2} : char32_t{0x3C3};
        } else {
            out += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
        }
    }
    return out;
}

std::u32string decompose(std::u32string_view text) {
    const std::string bytes = to_utf8(text);
    utf8proc_uint8_t* mapped = nullptr;
    const utf8proc_ssize_t n = utf8proc_map(
        reinterpret_cast<const utf8proc_uint8_t*>(bytes.data()), static_cast<utf8proc_ssize_t>(bytes.size()), &mapped,
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT));
    const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
    if (n < 0) throw Error("text normalisation: {}", utf8proc_errmsg(n));
    return to_utf32({reinterpret_cast<const char*>(mapped), static_cast<size_t>(n)});
}

std::vector<std::u32string> split_words(std::u32string_view text) {
    std::vector<std::u32string> words;
    size_t i = 0;
    while (i < text.size()) {
        while (i < text.size() && is_space(text[i])) ++i;
        const size_t start = i;
        while (i < text.size() && !is_space(text[i])) ++i;
        if (i > start) words.emplace_back(text.substr(start, i - start));
    }
    return words;
}

}  // namespace wavllm::unicode
