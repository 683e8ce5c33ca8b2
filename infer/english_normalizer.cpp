#include "infer/english_normalizer.h"

#include <algorithm>
#include <array>
#include <vector>

#include "infer/english_numbers.h"
#include "infer/english_spelling.h"
#include "infer/unicode.h"

namespace wavllm {

namespace {

using namespace unicode;

bool ascii_digit(char32_t c) {
    return c >= U'0' && c <= U'9';
}
bool ascii_letter(char32_t c) {
    return c >= U'a' && c <= U'z';
}
bool one_of(char32_t c, std::u32string_view set) {
    return set.find(c) != std::u32string_view::npos;
}
size_t word_end(std::u32string_view text, size_t i) {
    while (i < text.size() && is_word(text[i])) ++i;
    return i;
}
size_t space_end(std::u32string_view text, size_t i) {
    while (i < text.size() && is_space(text[i])) ++i;
    return i;
}

/// [...] and <...>, whichever brackets begin and end it.
std::u32string remove_brackets(std::u32string_view text) {
    std::u32string out;
    for (size_t i = 0; i < text.size(); ++i) {
        const size_t close = one_of(text[i], U"<[") ? text.find_first_of(U">]", i + 1) : std::u32string_view::npos;
        if (close == std::u32string_view::npos)
            out += text[i];
        else
            i = close;
    }
    return out;
}

/// (...), but not ().
std::u32string remove_parentheses(std::u32string_view text) {
    std::u32string out;
    for (size_t i = 0; i < text.size(); ++i) {
        const size_t close = text[i] == U'(' ? text.find(U')', i + 1) : std::u32string_view::npos;
        if (close == std::u32string_view::npos || close == i + 1)
            out += text[i];
        else
            i = close;
    }
    return out;
}

std::u32string remove_fillers(std::u32string_view text) {
    constexpr std::array<std::u32string_view, 6> fillers = {U"hmm", U"mm", U"mhm", U"mmm", U"uh", U"um"};
    std::u32string out;
    for (size_t i = 0; i < text.size();) {
        const size_t end = word_end(text, i);
        const std::u32string_view word = text.substr(i, end - i);
        if (word.empty())
            out += text[i++];
        else {
            if (std::find(fillers.begin(), fillers.end(), word) == fillers.end()) out += word;
            i = end;
        }
    }
    return out;
}

/// "it 's" -> "it's"
std::u32string join_apostrophes(std::u32string_view text) {
    std::u32string out;
    for (size_t i = 0; i < text.size();) {
        const size_t end = space_end(text, i);
        if (end == i)
            out += text[i++];
        else {
            if (end == text.size() || text[end] != U'\'') out += text.substr(i, end - i);
            i = end;
        }
    }
    return out;
}

struct Expansion {
    std::u32string_view from, to;
    bool whole_word;  ///< must also begin at a word boundary; all must end at one
};

// Applied one after the other over the whole text: the order matters ("'d been" before "'d").
constexpr Expansion kExpansions[] = {
    {U"won't", U"will not", true},
    {U"can't", U"can not", true},
    {U"let's", U"let us", true},
    {U"ain't", U"aint", true},
    {U"y'all", U"you all", true},
    {U"wanna", U"want to", true},
    {U"gotta", U"got to", true},
    {U"gonna", U"going to", true},
    {U"i'ma", U"i am going to", true},
    {U"imma", U"i am going to", true},
    {U"woulda", U"would have", true},
    {U"coulda", U"could have", true},
    {U"shoulda", U"should have", true},
    {U"ma'am", U"madam", true},
    {U"mr", U"mister ", true},
    {U"mrs", U"missus ", true},
    {U"st", U"saint ", true},
    {U"dr", U"doctor ", true},
    {U"prof", U"professor ", true},
    {U"capt", U"captain ", true},
    {U"gov", U"governor ", true},
    {U"ald", U"alderman ", true},
    {U"gen", U"general ", true},
    {U"sen", U"senator ", true},
    {U"rep", U"representative ", true},
    {U"pres", U"president ", true},
    {U"rev", U"reverend ", true},
    {U"hon", U"honorable ", true},
    {U"asst", U"assistant ", true},
    {U"assoc", U"associate ", true},
    {U"lt", U"lieutenant ", true},
    {U"col", U"colonel ", true},
    {U"jr", U"junior ", true},
    {U"sr", U"senior ", true},
    {U"esq", U"esquire ", true},
    {U"'d been", U" had been", false},
    {U"'s been", U" has been", false},
    {U"'d gone", U" had gone", false},
    {U"'s gone", U" has gone", false},
    {U"'d done", U" had done", false},
    {U"'s got", U" has got", false},
    {U"n't", U" not", false},
    {U"'re", U" are", false},
    {U"'s", U" is", false},
    {U"'d", U" would", false},
    {U"'ll", U" will", false},
    {U"'t", U" not", false},
    {U"'ve", U" have", false},
    {U"'m", U" am", false},
};

std::u32string expand(std::u32string text, const Expansion& expansion) {
    size_t at = text.find(expansion.from);
    if (at == std::u32string::npos) return text;
    std::u32string out;
    size_t copied = 0;
    while (at != std::u32string::npos) {
        const size_t end = at + expansion.from.size();
        if (word_boundary(text, end) && (!expansion.whole_word || word_boundary(text, at))) {
            out.append(text, copied, at - copied);
            out += expansion.to;
            copied = end;
            at = text.find(expansion.from, end);
        } else {
            at = text.find(expansion.from, at + 1);
        }
    }
    return out.append(text, copied);
}

std::u32string remove_commas_and_stops(std::u32string_view text) {
    std::u32string digits;  // "10,000" -> "10000"; a digit belongs to one comma only: "1,2,3" -> "12,3"
    for (size_t i = 0; i < text.size();) {
        if (i + 2 < text.size() && is_digit(text[i]) && text[i + 1] == U',' && is_digit(text[i + 2])) {
            digits += text[i];
            digits += text[i + 2];
            i += 3;
        } else {
            digits += text[i++];
        }
    }
    std::u32string out;  // a full stop stays only before a digit; the character after it is not looked at again
    for (size_t i = 0; i < digits.size(); ++i) {
        if (digits[i] != U'.' || (i + 1 < digits.size() && ascii_digit(digits[i + 1]))) {
            out += digits[i];
        } else {
            out += U' ';
            if (i + 1 < digits.size()) out += digits[++i];
        }
    }
    return out;
}

/// Letters that no decomposition turns into ASCII.
std::u32string_view plain_letters(char32_t c) {
    switch (c) {
        case U'œ': return U"oe";
        case U'Œ': return U"OE";
        case U'ø': return U"o";
        case U'Ø': return U"O";
        case U'æ': return U"ae";
        case U'Æ': return U"AE";
        case U'ß': return U"ss";
        case U'ẞ': return U"SS";
        case U'đ':
        case U'ð': return U"d";
        case U'Đ':
        case U'Ð': return U"D";
        case U'þ':
        case U'Þ': return U"th";
        case U'ł': return U"l";
        case U'Ł': return U"L";
        default: return {};
    }
}

/// Diacritics vanish, other marks, symbols and punctuation become spaces; those that belong to numbers stay.
std::u32string remove_symbols(std::u32string_view text) {
    std::u32string out;
    for (char32_t c : decompose(text)) {
        if (one_of(c, U".%$¢€£"))
            out += c;
        else if (const std::u32string_view letters = plain_letters(c); !letters.empty())
            out += letters;
        else if (is_mark_symbol_or_punctuation(c)) {
            if (!is_mark_nonspacing(c)) out += U' ';
        } else
            out += c;
    }
    return out;
}

/// End of "and a half" if it stands at i, else i.
size_t and_a_half_end(std::u32string_view text, size_t i) {
    if (!text.substr(i).starts_with(U"and") || !word_boundary(text, i)) return i;
    const size_t a = space_end(text, i + 3);
    if (a == i + 3 || a >= text.size() || text[a] != U'a') return i;
    const size_t half = space_end(text, a + 1);
    if (half == a + 1 || !text.substr(half).starts_with(U"half") || !word_boundary(text, half + 4)) return i;
    return half + 4;
}

/// "two and a half" -> "two point five", only after a number word; elsewhere the words stay.
std::u32string replace_halves(std::u32string_view text) {
    std::u32string out;
    bool first = true;
    const auto append = [&](std::u32string_view part) {
        if (!first) out += U' ';
        out += part;
        first = false;
    };
    size_t start = 0;
    for (size_t i = 0; i < text.size();) {
        const size_t end = and_a_half_end(text, i);
        if (end == i) {
            ++i;
            continue;
        }
        const std::u32string_view segment = text.substr(start, i - start);
        const std::vector<std::u32string> words = split_words(segment);
        if (!words.empty()) {  // with nothing before it, the phrase vanishes; so it does in Whisper
            append(segment);
            append(takes_a_half(to_utf8(words.back())) ? U"point five" : U"and a half");
        }
        start = i = end;
    }
    if (const std::u32string_view rest = text.substr(start); space_end(rest, 0) < rest.size()) append(rest);
    return out;
}

/// "a4" -> "a 4", "4a" -> "4 a", then the suffixes of numbers back to them: "4 th" -> "4th".
std::u32string space_numbers(std::u32string_view text) {
    std::u32string apart;
    for (size_t i = 0; i < text.size(); ++i) {
        if (i > 0 && ((ascii_letter(text[i - 1]) && ascii_digit(text[i])) ||
                      (ascii_digit(text[i - 1]) && ascii_letter(text[i]))))
            apart += U' ';
        apart += text[i];
    }
    constexpr std::array<std::u32string_view, 5> suffixes = {U"st", U"nd", U"rd", U"th", U"s"};
    std::u32string out;
    for (size_t i = 0; i < apart.size(); ++i) {
        out += apart[i];
        const size_t next = space_end(apart, i + 1);
        if (!ascii_digit(apart[i]) || next == i + 1) continue;
        const std::u32string_view word = std::u32string_view(apart).substr(next, word_end(apart, next) - next);
        if (std::find(suffixes.begin(), suffixes.end(), word) != suffixes.end()) i = next - 1;
    }
    return out;
}

/// One or two digits at i that end at a word boundary; 0 if there are none.
size_t short_number(std::u32string_view text, size_t i) {
    size_t n = 0;
    while (n < 2 && i + n < text.size() && ascii_digit(text[i + n])) ++n;
    return n > 0 && word_boundary(text, i + n) ? n : 0;
}

/// "$2 and ¢7" -> "$2.07"
std::u32string join_cents(std::u32string_view text) {
    std::u32string out;
    for (size_t i = 0; i < text.size();) {
        size_t at = i + 1;
        while (at < text.size() && ascii_digit(text[at])) ++at;
        const size_t whole_end = at;
        const bool amount = one_of(text[i], U"€£$") && whole_end > i + 1 && at < text.size() && text[at] == U' ';
        if (amount) {
            ++at;
            if (text.substr(at).starts_with(U"and ")) at += 4;
            const size_t digits = at < text.size() && text[at] == U'¢' ? short_number(text, at + 1) : 0;
            if (digits > 0) {
                out += text.substr(i, whole_end - i);
                out += digits == 1 ? U".0" : U".";
                out += text.substr(at + 1, digits);
                i = at + 1 + digits;
                continue;
            }
        }
        out += text[i++];
    }
    return out;
}

/// "$0.07" -> "¢7"
std::u32string pure_cents(std::u32string_view text) {
    std::u32string out;
    for (size_t i = 0; i < text.size();) {
        const bool zero = one_of(text[i], U"€£$") && i + 2 < text.size() && text[i + 1] == U'0' && text[i + 2] != U'\n';
        if (const size_t digits = zero ? short_number(text, i + 3) : 0) {
            out += U'¢';
            if (digits == 1 || text[i + 3] != U'0') out += text[i + 3];
            if (digits == 2) out += text[i + 4];
            i += 3 + digits;
        } else {
            out += text[i++];
        }
    }
    return out;
}

/// The words "one" and "ones" read better than 1 and 1s.
std::u32string spell_one(std::u32string_view text) {
    std::u32string out;
    for (size_t i = 0; i < text.size();) {
        const size_t end = word_end(text, i);
        const std::u32string_view word = text.substr(i, end - i);
        if (word.empty()) {
            out += text[i++];
        } else {
            out += word == U"1" ? U"one" : word == U"1s" ? U"ones" : word;
            i = end;
        }
    }
    return out;
}

std::string numbers_and_spelling(std::u32string_view text) {
    std::vector<std::string> words;
    for (const std::u32string& word : split_words(space_numbers(replace_halves(text)))) words.push_back(to_utf8(word));
    std::string joined;
    for (const std::string& word : digits_for_number_words(words)) joined += (joined.empty() ? "" : " ") + word;
    const std::u32string numbers = spell_one(pure_cents(join_cents(to_utf32(joined))));
    std::string out;
    for (const std::u32string& word : split_words(numbers)) {
        if (!out.empty()) out += ' ';
        out += american_spelling(to_utf8(word));
    }
    return out;
}

/// Currency symbols that no number follows and percent signs that none precedes become spaces.
std::u32string remove_lone_symbols(std::u32string_view text) {
    std::u32string prefixes;
    for (size_t i = 0; i < text.size(); ++i) {
        if (one_of(text[i], U".$¢€£") && i + 1 < text.size() && !ascii_digit(text[i + 1])) {
            prefixes += U' ';
            prefixes += text[++i];
        } else {
            prefixes += text[i];
        }
    }
    std::u32string out;
    for (size_t i = 0; i < prefixes.size(); ++i) {
        out += prefixes[i];
        if (!ascii_digit(prefixes[i]) && i + 1 < prefixes.size() && prefixes[i + 1] == U'%') {
            out += U' ';
            ++i;
        }
    }
    return out;
}

std::u32string single_spaces(std::u32string_view text) {
    std::u32string out;
    for (size_t i = 0; i < text.size();) {
        const size_t end = space_end(text, i);
        out += end > i ? U' ' : text[i];
        i = std::max(end, i + 1);
    }
    return out;
}

}  // namespace

std::string normalize_english(std::string_view text) {
    std::u32string s = to_lower(to_utf32(text));
    s = join_apostrophes(remove_fillers(remove_parentheses(remove_brackets(s))));
    for (const Expansion& expansion : kExpansions) s = expand(std::move(s), expansion);
    s = remove_symbols(remove_commas_and_stops(s));
    return to_utf8(single_spaces(remove_lone_symbols(to_utf32(numbers_and_spelling(s)))));
}

}  // namespace wavllm
