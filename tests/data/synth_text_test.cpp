// Sentences for synthetic speech. Witness: readings written by hand, and counts that must add up.
#include <doctest/doctest.h>
#include <zlib.h>

#include <map>
#include <set>

#include "data/synth/clip_texts.h"
#include "data/synth/text.h"
#include "tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

std::string spoken(std::string_view sentence) {
    const auto words = spoken_words(sentence);
    return words ? transcript(*words) + " | " + reading(*words) : "";
}

void gzip(const std::filesystem::path& path, std::string_view text) {
    gzFile file = gzopen(path.c_str(), "wb");
    gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
    gzclose(file);
}

Sentences sentences(const std::vector<std::string>& lines) {
    const TempFolder folder;
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return read_sentences(folder.write("text.txt", text), {});
}

}  // namespace

TEST_CASE("synth: transcripts are lower-case words, readings keep the pauses") {
    CHECK(spoken("\"Half-a-dozen men,\" said Mr. Brown; \"I don't know!\"") ==
          "half a dozen men said mister brown i don't know | half a dozen men, said mister brown; i don't know!");
    CHECK(spoken("But--you see (he said)") == "but you see he said | but, you see, he said.");
    CHECK(spoken("And the LORD spake unto Moses:") == "and the lord spake unto moses | and the lord spake unto moses.");
    CHECK(spoken("It was ill, and O the pity,") == "it was ill and o the pity | it was ill, and o the pity.");
    CHECK(spoken("He went. She stayed. Mrs Hill") ==
          "he went she stayed missus hill | he went. she stayed. missus hill.");
}

TEST_CASE("synth: what would have to be guessed is left out") {
    for (const char* sentence :
         {"In 1492 he sailed", "Chapter IV begins", "chapter iv begins", "the U.S. army", "J. Smith came",
          "at six p.m. we", "St. Paul's was seen", "the USA won", "'Hello,' he said", "the boys' hats",
          "caf\xC3\xA9 noir", "a & b", "hm, no", "[sic] he said", "Esq., said he", "came by rail. then left", ""}) {
        CAPTURE(sentence);
        CHECK(!spoken_words(sentence));
    }
}

TEST_CASE("synth: sentences are read from text, from a table, and compressed; each once, none that is excluded") {
    const TempFolder folder;
    const std::string table =
        "text\tsource\nThe cat sat on it.\ta\nHe had 2 cats\ta\nthe Cat sat on it\tb\nOne two three four "
        "five.\tb\nYes.\tb\n";
    WordRuns excluded;
    excluded.add("Two, three -- FOUR five!");
    gzip(folder / "table.tsv.gz", table);
    for (const auto& file : {folder.write("table.tsv", table), folder / "table.tsv.gz"}) {
        const Sentences s = read_sentences(file, excluded);
        CHECK(s.read == 5);
        CHECK(s.unreadable == 2);  // digits; a single word
        CHECK(s.repeated == 1);
        CHECK(s.excluded == 1);
        REQUIRE(s.sentences.size() == 1);
        CHECK(s.sentences[0] == "The cat sat on it.");
        REQUIRE(s.sources.size() == 2);
        CHECK(s.sources[0].name == "a");
        CHECK(s.sources[0].kept == 1);
    }
    const Sentences plain = read_sentences(folder.write("plain.txt", "We came.\r\nWe saw.\n"), {});
    CHECK(plain.sentences.size() == 2);
    const auto manifest = folder.write("manifest.tsv", "id\ttgt_text\ta\nx\twe came\ty\n");
    CHECK(read_sentences(manifest, {}).sentences == std::vector<std::string>{"we came"});

    const std::string whole = read_all(folder / "table.tsv.gz");
    const auto cut = folder.write("cut.tsv.gz", std::string_view(whole).substr(0, whole.size() - 12));
    CHECK(message_of<FileError>([&] { read_sentences(cut, {}); }).find("cut.tsv.gz") != std::string::npos);
    CHECK(message_of<FileError>([&] { read_sentences(folder / "none", {}); }).find("no such text") !=
          std::string::npos);
    const auto digits = folder.write("digits.txt", "1 2 3\n");
    CHECK(message_of<FileError>([&] { read_sentences(digits, {}); }).find("1 unreadable") != std::string::npos);
}

TEST_CASE("synth: every word of every sentence is given out once before any comes again") {
    std::vector<std::string> lines;
    std::multiset<std::string> all;
    for (int i = 0; i < 37; ++i) {
        // letters instead of numbers, so that the words differ
        const std::string word = std::string("word") + static_cast<char>('a' + i / 6) + static_cast<char>('a' + i % 6);
        std::string line;
        for (int k = 0; k < 3 + i % 20; ++k) {
            const std::string w = word + static_cast<char>('a' + k);
            line += (k ? k % 5 ? " " : ", " : "") + w;
            all.insert(w);
        }
        lines.push_back(line + ".");
    }
    const Sentences s = sentences(lines);
    REQUIRE(s.sentences.size() == lines.size());
    ClipTexts texts(s, source_weights(s, {}), 7, 20);
    std::multiset<std::string> given;
    std::set<std::string> firsts;
    for (int i = 0; given.size() < all.size(); ++i) {
        REQUIRE(i < 1000);
        const double wanted = 1 + i % 12;
        const ClipText t = texts.next(wanted, 1.0, {});
        REQUIRE(!t.words.empty());
        CHECK(expected_seconds(t.words) <= 20);
        for (const SpokenWord& w : t.words) given.insert(w.text);
    }
    // the last clip may already begin the next round
    for (const std::string& w : all) CHECK(given.count(w) >= 1);
    CHECK(given.size() - all.size() < 60);
    CHECK(texts.passes() <= 1);
}

TEST_CASE("synth: clip texts keep apart from texts to avoid, even where two sentences meet") {
    const Sentences s =
        sentences({"we saw the red", "house of cards fall", "nobody came there today", "all was quiet again"});
    WordRuns avoid;
    avoid.add("the red house of");
    avoid.add("nobody came there today");
    ClipTexts texts(s, source_weights(s, {}), 1, 30);
    std::set<std::string> words;
    for (int i = 0; i < 50; ++i) {
        const std::string text = transcript(texts.next(8, 1.0, avoid).words);
        CHECK(!avoid.find(text));
        for (const std::string& w : comparison_words(text)) words.insert(w);
    }
    CHECK(words.count("red") == 1);
    CHECK(words.count("cards") == 1);
    CHECK(words.count("nobody") == 0);
    avoid.add("we saw the red");
    avoid.add("house of cards fall");
    avoid.add("all was quiet again");
    CHECK(message_of<UsageError>([&] { texts.next(8, 1.0, avoid); }).find("give more text") != std::string::npos);
}

TEST_CASE("synth: a source of more weight comes sooner, one of weight 0 never") {
    const TempFolder folder;
    std::string table = "text\tsource\n";
    for (int i = 0; i < 26 * 26; ++i)
        table += std::string("say ") + static_cast<char>('a' + i / 26) + "e" + static_cast<char>('a' + i % 26) + "e\t" +
                 std::string(1, static_cast<char>('x' + i / 8 % 3)) + "\n";
    const Sentences s = read_sentences(folder.write("t.tsv", table), {});
    ClipTexts texts(s, source_weights(s, {{"x", 3}, {"z", 0}}), 3, 30);
    std::map<std::string, int> count;
    for (int i = 0; i < 200; ++i) ++count[texts.next(1, 1.0, {}).source];
    CHECK(count["z"] == 0);
    CHECK(2 * count["x"] > 3 * count["y"]);
    CHECK(count["y"] > 20);
    CHECK(message_of<UsageError>([&] { source_weights(s, {{"q", 1}}); }).find("it has: x, y, z") != std::string::npos);
    CHECK_THROWS_AS(source_weights(s, {{"x", -1}}), UsageError);
    CHECK_THROWS_AS(source_weights(s, {{"x", 0}, {"y", 0}, {"z", 0}}), UsageError);
}
