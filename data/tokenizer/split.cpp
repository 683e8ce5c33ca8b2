#include "data/tokenizer/split.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "tensor/text.h"

namespace wavllm {

namespace {

enum class Kind : uint8_t { letter, number, space, other };

/// A character of the text: its kind and where it begins.
struct Char {
    Kind kind;
    size_t begin;
};

bool is_white_space(int32_t c) {
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

Kind kind_of(int32_t c) {
    if (is_white_space(c)) return Kind::space;
    switch (utf8proc_category(c)) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_LO: return Kind::letter;
        case UTF8PROC_CATEGORY_ND:
        case UTF8PROC_CATEGORY_NL:
        case UTF8PROC_CATEGORY_NO: return Kind::number;
        default: return Kind::other;
    }
}

/// Kinds of all characters, and a last entry at the end of the text.
std::vector<Char> characters(std::string_view text) {
    std::vector<Char> chars;
    size_t at = 0;
    while (at < text.size()) {
        const size_t length = std::max<size_t>(1, utf8_length(text.substr(at)));
        utf8proc_int32_t code = -1;
        utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                         static_cast<utf8proc_ssize_t>(length), &code);
        chars.push_back({code < 0 ? Kind::other : kind_of(code), at});
        at += length;
    }
    chars.push_back({Kind::other, text.size()});
    return chars;
}

size_t contraction_length(std::string_view text) {
    static constexpr std::array<std::string_view, 7> kContractions{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (const std::string_view one : kContractions)
        if (text.starts_with(one)) return one.size();
    return 0;
}

/// The pattern on characters [first, last); a piece never looks past `last`.
void split_gpt2(std::string_view text, const std::vector<Char>& chars, size_t first, size_t last,
                std::vector<std::string_view>& pieces) {
    const auto run_end = [&](size_t from, Kind kind) {
        while (from < last && chars[from].kind == kind) ++from;
        return from;
    };
    size_t at = first;
    while (at < last) {
        const size_t begin = chars[at].begin;
        const std::string_view rest = text.substr(begin, chars[last].begin - begin);
        size_t end = at;
        if (const size_t bytes = contraction_length(rest)) {
            end = at + bytes;  // all ASCII
        } else if (const size_t head = at + (text[begin] == ' '); head < last && chars[head].kind != Kind::space) {
            end = run_end(head, chars[head].kind);
        } else {
            end = run_end(at, Kind::space);
            // \s+(?!\S): the last space before a word is left to that word, unless it is the only one
            if (end < last && end - at > 1) --end;
        }
        pieces.push_back(text.substr(begin, chars[end].begin - begin));
        at = end;
    }
}

}  // namespace

std::vector<std::string_view> split_text(std::string_view text, Split split) {
    std::vector<std::string_view> pieces;
    const std::vector<Char> chars = characters(text);
    const size_t count = chars.size() - 1;
    if (split == Split::gpt2) {
        split_gpt2(text, chars, 0, count, pieces);
        return pieces;
    }
    size_t start = 0;
    for (size_t i = 0; i < count; ++i) {
        if (chars[i].kind != Kind::number) continue;
        split_gpt2(text, chars, start, i, pieces);
        split_gpt2(text, chars, i, i + 1, pieces);
        start = i + 1;
    }
    split_gpt2(text, chars, start, count, pieces);
    return pieces;
}

}  // namespace wavllm
