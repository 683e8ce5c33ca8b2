#pragma once
// Word and character error rates. The numbers of substitutions, deletions and insertions belong to an alignment with
// the fewest errors and, among those, the fewest substitutions (so the most matches): this makes them unique, whatever
// the order of the search. Tools that break ties otherwise give the same rates, but may split them differently.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wavllm {

struct ErrorCounts {
    int64_t reference = 0;  ///< words (or characters) in the reference
    int64_t substitutions = 0;
    int64_t deletions = 0;   ///< in the reference only
    int64_t insertions = 0;  ///< in the hypothesis only

    int64_t errors() const {
        return substitutions + deletions + insertions;
    }
    int64_t matches() const {
        return reference - substitutions - deletions;
    }
    /// errors / reference: may exceed 1; 0 for nothing against nothing, infinite for insertions into an empty
    /// reference.
    double rate() const;
    ErrorCounts& operator+=(const ErrorCounts& other);
    bool operator==(const ErrorCounts&) const = default;
};

enum class Edit : uint8_t { match, substitution, deletion, insertion };

struct AlignedWord {
    Edit edit;
    std::string reference;   ///< empty for an insertion
    std::string hypothesis;  ///< empty for a deletion
    bool operator==(const AlignedWord&) const = default;
};

/// Words between white space, and Unicode code points with the white space between words counted as one character.
/// No other normalisation: "Word," and "word" differ.
ErrorCounts word_errors(std::string_view reference, std::string_view hypothesis);
ErrorCounts character_errors(std::string_view reference, std::string_view hypothesis);

/// The alignment behind word_errors, first word to last. Where several are equally good, the last word is
/// matched or substituted rather than deleted, and deleted rather than inserted; then the word before it, and so on.
/// Needs one byte per pair of words.
std::vector<AlignedWord> align_words(std::string_view reference, std::string_view hypothesis);

/// Two lines for a report: "REF: the [cat] sat ***" over "HYP: the [hat] sat down", columns padded to match; changed
/// words in brackets, stars where a side has no word.
std::string format_alignment(const std::vector<AlignedWord>& alignment);

/// Error rates of a whole test set: sums of errors over sums of reference lengths (not means of rates).
struct ErrorRates {
    int64_t sentences = 0;
    ErrorCounts words;         ///< raw
    ErrorCounts characters;    ///< raw
    ErrorCounts normal_words;  ///< both sides through normalize_english
    ErrorCounts normal_characters;

    void add(std::string_view reference, std::string_view hypothesis);
};

/// One line: "WER 12.50 % (3 sub, 1 del, 0 ins of 32 words), CER 5.10 % (...)".
std::string format_rates(const ErrorCounts& words, const ErrorCounts& characters);

}  // namespace wavllm
