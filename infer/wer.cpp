#include "infer/wer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "infer/english_normalizer.h"
#include "infer/unicode.h"

namespace wavllm {

namespace {

/// A sentence as numbers: equal words have equal numbers.
using Tokens = std::vector<uint32_t>;

struct Cost {
    int32_t errors = 0, substitutions = 0;
    auto operator<=>(const Cost&) const = default;
};

struct Cell {
    Cost cost;
    Edit edit;
};

/// The best way to reach a cell: over the diagonal, from above (deletion) or from the left (insertion).
Cell best_step(bool equal, Cost diagonal, Cost above, Cost left) {
    Cell best{equal ? diagonal : Cost{diagonal.errors + 1, diagonal.substitutions + 1},
              equal ? Edit::match : Edit::substitution};
    if (const Cost deleted{above.errors + 1, above.substitutions}; deleted < best.cost)
        best = {deleted, Edit::deletion};
    if (const Cost inserted{left.errors + 1, left.substitutions}; inserted < best.cost)
        best = {inserted, Edit::insertion};
    return best;
}

/// Fills the table row by row and shows every inner cell to visit(i, j, edit), i and j from 1; returns the total cost.
template <class Visit>
Cost edit_distance(const Tokens& reference, const Tokens& hypothesis, Visit visit) {
    std::vector<Cost> row(hypothesis.size() + 1);
    for (size_t j = 0; j < row.size(); ++j) row[j] = {static_cast<int32_t>(j), 0};
    for (size_t i = 1; i <= reference.size(); ++i) {
        Cost diagonal = row[0];
        row[0] = {static_cast<int32_t>(i), 0};
        for (size_t j = 1; j < row.size(); ++j) {
            const Cell cell = best_step(reference[i - 1] == hypothesis[j - 1], diagonal, row[j], row[j - 1]);
            diagonal = row[j];
            row[j] = cell.cost;
            visit(i, j, cell.edit);
        }
    }
    return row.back();
}

ErrorCounts count_errors(const Tokens& reference, const Tokens& hypothesis) {
    const Cost cost = edit_distance(reference, hypothesis, [](size_t, size_t, Edit) {});
    // insertions - deletions is the difference of the lengths, and the three kinds add up to the errors
    const int64_t difference = static_cast<int64_t>(hypothesis.size()) - static_cast<int64_t>(reference.size());
    const int64_t gaps = cost.errors - cost.substitutions;
    return {static_cast<int64_t>(reference.size()), cost.substitutions, (gaps - difference) / 2,
            (gaps + difference) / 2};
}

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words;
    for (const std::u32string& word : unicode::split_words(unicode::to_utf32(text)))
        words.push_back(unicode::to_utf8(word));
    return words;
}

std::pair<Tokens, Tokens> number_words(const std::vector<std::string>& reference,
                                       const std::vector<std::string>& hypothesis) {
    std::unordered_map<std::string_view, uint32_t> numbers;
    const auto tokens = [&](const std::vector<std::string>& words) {
        Tokens out;
        for (const std::string& word : words)
            out.push_back(numbers.try_emplace(word, static_cast<uint32_t>(numbers.size())).first->second);
        return out;
    };
    Tokens first = tokens(reference);
    return {std::move(first), tokens(hypothesis)};
}

Tokens characters_of(std::string_view text) {
    Tokens out;
    for (const std::u32string& word : unicode::split_words(unicode::to_utf32(text))) {
        if (!out.empty()) out.push_back(U' ');
        out.insert(out.end(), word.begin(), word.end());
    }
    return out;
}

std::string percent(double rate) {
    return std::isfinite(rate) ? fmt::format("{:.2f} %", 100 * rate) : "infinite";
}

}  // namespace

double ErrorCounts::rate() const {
    if (errors() == 0) return 0;
    if (reference == 0) return std::numeric_limits<double>::infinity();
    return static_cast<double>(errors()) / static_cast<double>(reference);
}

ErrorCounts& ErrorCounts::operator+=(const ErrorCounts& other) {
    reference += other.reference;
    substitutions += other.substitutions;
    deletions += other.deletions;
    insertions += other.insertions;
    return *this;
}

ErrorCounts word_errors(std::string_view reference, std::string_view hypothesis) {
    const std::vector<std::string> a = words_of(reference), b = words_of(hypothesis);
    const auto [first, second] = number_words(a, b);
    return count_errors(first, second);
}

ErrorCounts character_errors(std::string_view reference, std::string_view hypothesis) {
    return count_errors(characters_of(reference), characters_of(hypothesis));
}

std::vector<AlignedWord> align_words(std::string_view reference, std::string_view hypothesis) {
    const std::vector<std::string> a = words_of(reference), b = words_of(hypothesis);
    const auto [first, second] = number_words(a, b);
    std::vector<Edit> table(a.size() * b.size());
    edit_distance(first, second,
                  [&, columns = b.size()](size_t i, size_t j, Edit edit) { table[(i - 1) * columns + j - 1] = edit; });
    std::vector<AlignedWord> alignment;
    for (size_t i = a.size(), j = b.size(); i > 0 || j > 0;) {
        const Edit edit = i == 0 ? Edit::insertion : j == 0 ? Edit::deletion : table[(i - 1) * b.size() + j - 1];
        AlignedWord word{edit, {}, {}};
        if (edit != Edit::insertion) word.reference = a[--i];
        if (edit != Edit::deletion) word.hypothesis = b[--j];
        alignment.push_back(std::move(word));
    }
    std::reverse(alignment.begin(), alignment.end());
    return alignment;
}

std::string format_alignment(const std::vector<AlignedWord>& alignment) {
    std::string reference = "REF:", hypothesis = "HYP:";
    for (const AlignedWord& word : alignment) {
        std::string above = word.reference, below = word.hypothesis;
        if (word.edit != Edit::match) {
            above = word.edit == Edit::insertion ? "***" : "[" + above + "]";
            below = word.edit == Edit::deletion ? "***" : "[" + below + "]";
        }
        const size_t wide = unicode::to_utf32(above).size(), narrow = unicode::to_utf32(below).size();
        reference += " " + above + std::string(narrow > wide ? narrow - wide : 0, ' ');
        hypothesis += " " + below + std::string(wide > narrow ? wide - narrow : 0, ' ');
    }
    reference.erase(reference.find_last_not_of(' ') + 1);
    hypothesis.erase(hypothesis.find_last_not_of(' ') + 1);
    return reference + "\n" + hypothesis;
}

void ErrorRates::add(std::string_view reference, std::string_view hypothesis) {
    ++sentences;
    words += word_errors(reference, hypothesis);
    characters += character_errors(reference, hypothesis);
    const std::string normal_reference = normalize_english(reference),
                      normal_hypothesis = normalize_english(hypothesis);
    normal_words += word_errors(normal_reference, normal_hypothesis);
    normal_characters += character_errors(normal_reference, normal_hypothesis);
}

std::string format_rates(const ErrorCounts& words, const ErrorCounts& characters) {
    const auto part = [](const char* name, const ErrorCounts& counts, const char* unit) {
        return fmt::format("{} {} ({} sub, {} del, {} ins of {} {})", name, percent(counts.rate()),
                           counts.substitutions, counts.deletions, counts.insertions, counts.reference, unit);
    };
    return part("WER", words, "words") + ", " + part("CER", characters, "characters");
}

}  // namespace wavllm
