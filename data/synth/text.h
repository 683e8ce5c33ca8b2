#pragma once
// Sentences to speak: read, brought into the form of LibriSpeech transcripts, kept apart from test sets, cut to length.

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/check/word_runs.h"

namespace wavllm {

struct SpokenWord {
    std::string text;  ///< a to z and apostrophes inside: as in LibriSpeech's transcripts, in lower case
    char pause = 0;    ///< punctuation behind it: , ; : . ! ? or none
};
using SpokenWords = std::vector<SpokenWord>;

/// A sentence in words, or nothing where its reading would be a guess: digits, signs, letters that are not ASCII,
/// initials, acronyms and roman numerals, abbreviations (but mr, mrs and dr are spelled out), apostrophes at a word's
/// edge (a quotation mark or an elision?), a word without a vowel. Hyphens inside words separate words.
std::optional<SpokenWords> spoken_words(std::string_view sentence);

/// "half a dozen men": what the model is to answer.
std::string transcript(std::span<const SpokenWord> words);
/// "half a dozen men, and i." with a full stop if nothing ends it: what an engine reads.
std::string reading(std::span<const SpokenWord> words);

/// Expected seconds at tempo 1, by letters and pauses: the engines' mean; single clips differ by up to a third.
double expected_seconds(std::span<const SpokenWord> words);

struct Sentences {
    struct Source {
        std::string name;  ///< "" for a text file without sources
        size_t read = 0, kept = 0;
    };
    std::vector<std::string> sentences;  ///< as written; spoken_words can read each
    std::vector<int> source;             ///< of each sentence, an index into sources
    std::vector<Source> sources;
    size_t read = 0, unreadable = 0, repeated = 0, excluded = 0;
};

/// Reads a text file, one sentence a line; or, where the first line has the tab-separated column `text` (or `tgt_text`,
/// as manifests have, and perhaps `source`), that column. May be compressed by gzip. Keeps what spoken_words can read, is at least two words and was
/// not there before, and shares no run of four words with `excluded`. Throws FileError: missing, damaged, nothing left.
Sentences read_sentences(const std::filesystem::path& path, const WordRuns& excluded);

}  // namespace wavllm
