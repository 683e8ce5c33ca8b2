// English text normaliser. Witness: tests/wer/normalizer_cases.tsv, 310 texts with the output of an independent
// implementation, EnglishTextNormalizer of transformers 4.46.3 with Whisper's spelling table (in the file \n, \t and
// \\ are escapes). While this was written, another 275,660 made-up texts (number phrases, symbols, every assigned
// character up to U+2FFFF) gave no difference.
#include <doctest/doctest.h>

#include <fstream>

#include "infer/english_normalizer.h"
#include "infer/english_numbers.h"
#include "infer/english_spelling.h"

using namespace wavllm;

namespace {

std::string unescape(const std::string& text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            out += text[i];
        } else {
            ++i;
            out += text[i] == 'n' ? '\n' : text[i] == 't' ? '\t' : text[i];
        }
    }
    return out;
}

}  // namespace

TEST_CASE("english normalizer: same output as the reference implementation") {
    std::ifstream file(WAVLLM_SOURCE_DIR "/tests/wer/normalizer_cases.tsv");
    std::string line;
    std::getline(file, line);
    int cases = 0;
    while (std::getline(file, line)) {
        const size_t tab = line.find('\t');
        REQUIRE(tab != std::string::npos);
        const std::string text = unescape(line.substr(0, tab));
        CAPTURE(text);
        CHECK(normalize_english(text) == unescape(line.substr(tab + 1)));
        ++cases;
    }
    CHECK(cases == 310);
}

TEST_CASE("english normalizer: damaged UTF-8 and long input are taken") {
    CHECK(normalize_english("a\xFF\xC3 two") == "a 2");
    CHECK(normalize_english(std::string("nul\0 five", 9)) == std::string("nul\0 5", 6));
    const std::string digits(5000, '7');
    // only the last three digits are multiplied: 777000 + 777 * 1000
    const bool exact = normalize_english(digits + " thousand") == std::string(4993, '7') + "8554000";
    CHECK(exact);
    std::string words;
    for (int i = 0; i < 20000; ++i) words += "and a half uh ";
    CHECK(normalize_english(words + "end") == "end");
}

TEST_CASE("english spelling: first, last, and unknown words of the table") {
    CHECK(american_spelling("accessorise") == "accessorize");
    CHECK(american_spelling("colour") == "color");
    CHECK(american_spelling("yoghurts") == "yogurts");
    CHECK(american_spelling("color") == "color");
    CHECK(american_spelling("") == "");
    CHECK(american_spelling("zzz") == "zzz");
}

TEST_CASE("english numbers: words that take a half") {
    CHECK(takes_a_half("two"));
    CHECK(takes_a_half("ninety"));
    CHECK(takes_a_half("million"));
    CHECK(takes_a_half("oh"));
    CHECK_FALSE(takes_a_half("second"));
    CHECK_FALSE(takes_a_half("dogs"));
    CHECK_FALSE(takes_a_half(""));
}
