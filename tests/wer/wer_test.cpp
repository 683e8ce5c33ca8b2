// Word and character error rates. Witnesses: tests/wer/wer_cases.tsv, whose totals and lengths come from jiwer 4.0 and
// whose split into kinds comes from a separate table-filling program with the same rule for ties; hand-computed cases.
#include "infer/wer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <sstream>

using namespace wavllm;

namespace {

ErrorCounts counts_of(const std::vector<AlignedWord>& alignment) {
    ErrorCounts counts;
    for (const AlignedWord& word : alignment) {
        counts.reference += word.edit != Edit::insertion;
        counts.substitutions += word.edit == Edit::substitution;
        counts.deletions += word.edit == Edit::deletion;
        counts.insertions += word.edit == Edit::insertion;
    }
    return counts;
}

std::string joined(const std::vector<AlignedWord>& alignment, std::string AlignedWord::*side) {
    std::string out;
    for (const AlignedWord& word : alignment)
        if (!(word.*side).empty()) out += (out.empty() ? "" : " ") + word.*side;
    return out;
}

}  // namespace

TEST_CASE("wer: same errors as jiwer, sentence by sentence and over the corpus") {
    std::ifstream file(WAVLLM_SOURCE_DIR "/tests/wer/wer_cases.tsv");
    std::string line;
    std::getline(file, line);
    ErrorRates rates;
    while (std::getline(file, line)) {
        std::vector<std::string> field;
        std::stringstream cells(line);
        for (std::string cell; std::getline(cells, cell, '\t');) field.push_back(cell);
        REQUIRE(field.size() == 9);
        CAPTURE(field[0]);
        CAPTURE(field[1]);
        const ErrorCounts words = word_errors(field[0], field[1]);
        CHECK(words.reference == std::stol(field[2]));
        CHECK(words.errors() == std::stol(field[3]));
        CHECK(words.substitutions == std::stol(field[4]));
        CHECK(words.deletions == std::stol(field[5]));
        CHECK(words.insertions == std::stol(field[6]));
        const ErrorCounts characters = character_errors(field[0], field[1]);
        CHECK(characters.reference == std::stol(field[7]));
        CHECK(characters.errors() == std::stol(field[8]));
        const std::vector<AlignedWord> alignment = align_words(field[0], field[1]);
        CHECK(counts_of(alignment) == words);
        CHECK(joined(alignment, &AlignedWord::reference) == field[0]);
        for (const AlignedWord& word : alignment)
            CHECK((word.edit == Edit::match) == (word.reference == word.hypothesis));
        rates.add(field[0], field[1]);
    }
    CHECK(rates.sentences == 73);
    CHECK(rates.words.rate() == doctest::Approx(0.3808724832214765).epsilon(1e-14));
    CHECK(rates.characters.rate() == doctest::Approx(0.29577464788732394).epsilon(1e-14));
    CHECK(rates.normal_words.rate() == doctest::Approx(0.3687707641196013).epsilon(1e-14));
    CHECK(rates.normal_characters.rate() == doctest::Approx(0.2962085308056872).epsilon(1e-14));
}

TEST_CASE("wer: counted by hand") {
    CHECK(word_errors("the cat sat", "the hat sat down") == ErrorCounts{3, 1, 0, 1});
    CHECK(word_errors("a b c", "") == ErrorCounts{3, 0, 3, 0});
    CHECK(word_errors("", "a b") == ErrorCounts{0, 0, 0, 2});
    CHECK(word_errors("  a\tb\n", "a b") == ErrorCounts{2, 0, 0, 0});
    CHECK(word_errors("a b", "b a") == ErrorCounts{2, 0, 1, 1});  // two errors either way; this one matches a word
    CHECK(word_errors("Word,", "word") == ErrorCounts{1, 1, 0, 0});
    CHECK(character_errors("gr\xC3\xBC\xC3\x9F", "gru") == ErrorCounts{4, 1, 1, 0});  // code points, not bytes
    CHECK(character_errors("a  b", "a b") == ErrorCounts{3, 0, 0, 0});
    CHECK(word_errors("", "").rate() == 0);
    CHECK(std::isinf(word_errors("", "a").rate()));
    CHECK(word_errors("a", "b c d").rate() == 3);
    ErrorRates rates;
    rates.add("Mr. Brown's colour", "mister brown is color");
    CHECK(rates.words == ErrorCounts{3, 3, 0, 1});
    CHECK(rates.normal_words == ErrorCounts{4, 0, 0, 0});
}

TEST_CASE("wer: alignment and its report") {
    const auto alignment = align_words("the cat sat here", "the hat sat on here");
    CHECK(alignment == std::vector<AlignedWord>{{Edit::match, "the", "the"},
                                                {Edit::substitution, "cat", "hat"},
                                                {Edit::match, "sat", "sat"},
                                                {Edit::insertion, "", "on"},
                                                {Edit::match, "here", "here"}});
    CHECK(format_alignment(alignment) == "REF: the [cat] sat ***  here\nHYP: the [hat] sat [on] here");
    CHECK(format_alignment(align_words("a bcd", "a")) == "REF: a [bcd]\nHYP: a ***");
    CHECK(format_rates({32, 3, 1, 0}, {100, 5, 0, 1}) ==
          "WER 12.50 % (3 sub, 1 del, 0 ins of 32 words), CER 6.00 % (5 sub, 0 del, 1 ins of 100 characters)");
}
