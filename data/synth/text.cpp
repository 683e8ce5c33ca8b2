#include "data/synth/text.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <memory>
#include <set>
#include <unordered_set>

#include "tensor/error.h"
#include "tensor/philox.h"

namespace wavllm {

namespace {

constexpr double kSecondsPerLetter = 0.066, kSecondsPerPause = 0.22, kSecondsAtEnds = 0.3;

// Written with a full stop that ends no sentence; most have several readings.
constexpr std::array<std::string_view, 40> kAbbreviations = {
    "st",  "esq", "capt", "col", "gen", "jr",  "sr",  "co",  "vs",  "vol",  "rev", "hon", "prof", "sec",
    "lt",  "sgt", "maj",  "gov", "sen", "rep", "jan", "feb", "aug", "sept", "oct", "nov", "dec",  "messrs",
    "mme", "etc", "viz",  "ie",  "eg",  "cf",  "pp",  "ed",  "inc", "ltd",  "mt",  "fig"};

bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool all_of(std::string_view word, std::string_view letters) {
    return word.find_first_not_of(letters) == std::string_view::npos;
}

/// Whether a word (letters and apostrophes as written) can be read in one way only.
bool readable(std::string_view written, std::string_view lower) {
    if (lower.find_first_of("aeiouy") == std::string_view::npos) return false;
    if (lower.size() == 1) return lower == "a" || lower == "i" || lower == "o";
    // chapter iv; "ill" is the only common word among these
    if (all_of(lower, "ivxl") && lower != "ill") return false;
    const bool capitals = std::none_of(written.begin(), written.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    if (!capitals) return true;
    return written.size() >= 4 && !all_of(lower, "ivxlcdm");  // shouted words and names; not USA, XIV, MCM
}

std::string spelled_out(const std::string& word) {
    if (word == "mr") return "mister";
    if (word == "mrs") return "missus";
    if (word == "dr") return "doctor";
    return word;
}

/// The next character but blanks and quotation marks; 0 at the end.
char next_mark(std::string_view text, size_t at) {
    while (at < text.size() && (text[at] == ' ' || text[at] == '"')) ++at;
    return at < text.size() ? text[at] : '\0';
}

struct CloseGz {
    void operator()(gzFile_s* file) const {
        gzclose(file);
    }
};

std::string read_maybe_compressed(const std::filesystem::path& path) {
    if (!std::filesystem::is_regular_file(path)) throw FileError("{}: there is no such text file", path.string());
    const std::unique_ptr<gzFile_s, CloseGz> file(gzopen(path.c_str(), "rb"));
    if (!file) throw FileError("{}: cannot open the text", path.string());
    std::string text;
    std::vector<char> buffer(1 << 18);
    while (true) {
        const int n = gzread(file.get(), buffer.data(), static_cast<unsigned>(buffer.size()));
        int code = Z_OK;
        const char* reason = gzerror(file.get(), &code);
        // a cut file gives Z_BUF_ERROR at its end
        if (n < 0 || (code != Z_OK && code != Z_STREAM_END))
            throw FileError("{}: the compressed text is damaged: {}", path.string(), reason);
        if (n == 0) return text;
        text.append(buffer.data(), static_cast<size_t>(n));
    }
}

std::vector<std::string_view> split(std::string_view text, char mark) {
    std::vector<std::string_view> parts;
    while (true) {
        const size_t at = text.find(mark);
        parts.push_back(text.substr(0, at));
        if (at == std::string_view::npos) return parts;
        text.remove_prefix(at + 1);
    }
}

}  // namespace

std::optional<SpokenWords> spoken_words(std::string_view s) {
    SpokenWords words;
    const auto pause = [&](char mark) {
        if (!words.empty() && (words.back().pause == 0 || words.back().pause == ',')) words.back().pause = mark;
    };
    for (size_t i = 0; i < s.size();) {
        const char c = s[i];
        if (is_letter(c)) {
            size_t end = i + 1;
            while (end < s.size() &&
                   (is_letter(s[end]) || (s[end] == '\'' && end + 1 < s.size() && is_letter(s[end + 1]))))
                ++end;
            const std::string_view written = s.substr(i, end - i);
            std::string lower;
            for (const char x : written) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(x)));
            const std::string whole = spelled_out(lower);
            const bool dot = end < s.size() && s[end] == '.';
            if (whole == lower) {
                if (!readable(written, lower)) return std::nullopt;
                if (dot && std::find(kAbbreviations.begin(), kAbbreviations.end(), lower) != kAbbreviations.end())
                    return std::nullopt;
            }
            if (dot && end + 1 < s.size() && (is_letter(s[end + 1]) || s[end + 1] == ',')) return std::nullopt;  // p.m.
            words.push_back({whole, 0});
            i = end + (whole != lower && dot ? 1 : 0);
            continue;
        }
        switch (c) {
            case ' ':
            case '"': break;
            case ',':
            case ';':
            case ':':
            case '!':
            case '?': pause(c); break;
            case '.': {
                const char next = next_mark(s, i + 1);
                if (next >= 'a' && next <= 'z') return std::nullopt;  // an abbreviation that is not in the list
                pause('.');
                break;
            }
            case '-': {
                const bool inside = i > 0 && i + 1 < s.size() && is_letter(s[i - 1]) && is_letter(s[i + 1]);
                if (!inside) pause(',');
                break;
            }
            case '(':
            case ')': pause(','); break;
            default: return std::nullopt;
        }
        ++i;
    }
    if (words.empty()) return std::nullopt;
    return words;
}

std::string transcript(std::span<const SpokenWord> words) {
    std::string text;
    for (const SpokenWord& w : words) text += (text.empty() ? "" : " ") + w.text;
    return text;
}

std::string reading(std::span<const SpokenWord> words) {
    std::string text;
    for (const SpokenWord& w : words) {
        text += (text.empty() ? "" : " ") + w.text;
        if (w.pause) text += w.pause;
    }
    if (text.empty()) return text;
    const char last = text.back();
    if (is_letter(last))
        text += '.';
    else if (last != '.' && last != '!' && last != '?')
        text.back() = '.';
    return text;
}

double expected_seconds(std::span<const SpokenWord> words) {
    size_t letters = 0, pauses = 0;
    for (const SpokenWord& w : words) {
        letters += w.text.size() + 1;
        pauses += w.pause != 0;
    }
    return kSecondsAtEnds + kSecondsPerLetter * static_cast<double>(letters) +
           kSecondsPerPause * static_cast<double>(pauses);
}

Sentences read_sentences(const std::filesystem::path& path, const WordRuns& excluded) {
    const std::string text = read_maybe_compressed(path);
    std::vector<std::string_view> lines = split(text, '\n');
    size_t text_column = 0, source_column = std::string::npos, first = 0;
    std::string_view first_line = lines[0];
    if (first_line.ends_with('\r')) first_line.remove_suffix(1);
    const auto header = split(first_line, '\t');
    for (size_t c = 0; c < header.size(); ++c) {
        if (header[c] == "source") source_column = c;
        if (header[c] != "text" && header[c] != "tgt_text") continue;
        text_column = c;
        first = 1;
    }
    if (first == 0) source_column = std::string::npos;  // a file without columns whose first line is a word
    Sentences result;
    std::unordered_set<size_t> seen;  // 64-bit hashes
    for (size_t l = first; l < lines.size(); ++l) {
        std::string_view line = lines[l];
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty()) continue;
        const auto fields = first == 1 ? split(line, '\t') : std::vector<std::string_view>{line};
        if (text_column >= fields.size())
            throw FileError("{}:{}: the line has {} fields; the column \"text\" is number {}", path.string(), l + 1,
                            fields.size(), text_column + 1);
        const std::string source(source_column < fields.size() ? fields[source_column] : "");
        auto at = std::find_if(result.sources.begin(), result.sources.end(),
                               [&](const Sentences::Source& s) { return s.name == source; });
        if (at == result.sources.end()) at = result.sources.insert(at, {source});
        ++result.read;
        ++at->read;
        auto words = spoken_words(fields[text_column]);
        if (!words || words->size() < 2) {
            ++result.unreadable;
            continue;
        }
        const std::string plain = transcript(*words);
        if (!seen.insert(std::hash<std::string>{}(plain)).second) {
            ++result.repeated;
            continue;
        }
        if (excluded.find(plain)) {
            ++result.excluded;
            continue;
        }
        ++at->kept;
        result.source.push_back(static_cast<int>(at - result.sources.begin()));
        result.sentences.emplace_back(fields[text_column]);
    }
    if (result.sentences.empty())
        throw FileError("{}: none of its {} lines is a sentence that can be spoken ({} unreadable, {} excluded)",
                        path.string(), result.read, result.unreadable, result.excluded);
    return result;
}

}  // namespace wavllm
