// Witness: computed by hand from the pattern and the merge rule.

#include "data/tokenizer/bpe.h"

#include <doctest/doctest.h>

#include <random>

#include "tensor/error.h"
#include "tensor/text.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;
using Ids = std::vector<int32_t>;
using Pieces = std::vector<std::string_view>;

namespace {

/// a=0 b=1 c=2 space=3 é's two bytes=4,5 ab=6 bc=7 abc=8 <end>=9
BpeVocabulary small() {
    BpeVocabulary out;
    out.source = "small";
    out.tokens = {"a", "b", "c", "Ġ", "Ã", "©", "ab", "bc", "abc", "<end>"};
    out.special = {false, false, false, false, false, false, false, false, false, true};
    out.merges = {"b c", "a b", "ab c"};
    out.eos = 9;
    return out;
}

const char* const kJson =
    R"({"added_tokens":[{"id":4,"content":"<e>","special":true}],"normalizer":null,
        "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},
        "model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2,"ab":3},"merges":["a b"]}})";

}  // namespace

TEST_CASE("split: GPT-2's pattern") {
    CHECK(split_text("Hello,  I'm 42!", Split::gpt2) == Pieces{"Hello", ",", " ", " I", "'m", " 42", "!"});
    CHECK(split_text("a\n\nb  ", Split::gpt2) == Pieces{"a", "\n", "\n", "b", "  "});
    CHECK(split_text("I'LL we'll", Split::gpt2) == Pieces{"I", "'", "LL", " we", "'ll"});
    CHECK(split_text("x\xC2\xA0y", Split::gpt2) == Pieces{"x", "\xC2\xA0", "y"});  // no-break space
    CHECK(split_text("½é²", Split::gpt2) == Pieces{"½", "é", "²"});
    CHECK(split_text("", Split::gpt2).empty());
}

TEST_CASE("split: SmolLM cuts every digit alone, and lookahead ends at the cut") {
    CHECK(split_text("a 12", Split::smollm) == Pieces{"a", " ", "1", "2"});
    CHECK(split_text("  7x", Split::smollm) == Pieces{"  ", "7", "x"});
}

TEST_CASE("bpe: the most important pair is joined first, the leftmost of equals") {
    const auto tokenizer = make_bpe_tokenizer(small());
    CHECK(tokenizer->encode("abc") == Ids{0, 7});  // "b c" outranks "a b", and "a bc" is no merge
    CHECK(tokenizer->encode("abab") == Ids{6, 6});
    CHECK(tokenizer->encode("a<b") == Ids{0, 1});  // no token writes "<"
}

TEST_CASE("bpe: pieces are what the first merges make, and what larger tokens fall into") {
    const auto tokenizer = make_bpe_tokenizer(small());
    CHECK(tokenizer->encode_pieces("abc", 0) == Ids{0, 1, 2});
    CHECK(tokenizer->encode_pieces("abab bc", 1) == Ids{0, 1, 0, 1, 3, 7});
    CHECK(tokenizer->encode_pieces("ab", 3) == tokenizer->encode("ab"));
    CHECK(tokenizer->pieces(0) == Ids{0, 1, 2, 3, 4, 5});
    CHECK(tokenizer->pieces(2) == Ids{0, 1, 2, 3, 4, 5, 6, 7});
}

TEST_CASE("bpe: special tokens only where asked for; streaming waits for whole characters") {
    BpeVocabulary vocabulary = small();
    for (const char* letter : {"<", "e", "n", "d", ">"}) {
        vocabulary.tokens.push_back(letter);
        vocabulary.special.push_back(false);
    }
    const auto tokenizer = make_bpe_tokenizer(vocabulary);
    CHECK(tokenizer->encode("a<end>b", true) == Ids{0, 9, 1});
    CHECK(tokenizer->encode("a<end>b") == Ids{0, 10, 11, 12, 13, 14, 1});
    StreamDecoder stream(*tokenizer);
    CHECK(stream.push(4) == "");
    CHECK(stream.push(5) == "é");
    CHECK(stream.push(4) == "");
    CHECK(stream.push(0) ==
          "\xEF\xBF\xBD"
          "a");
    CHECK(stream.push(4) == "");
    CHECK(stream.finish() == "\xEF\xBF\xBD");
    CHECK(tokenizer->decode(Ids{0, 9, 1}) == "ab");
}

TEST_CASE("bpe: vocabularies that contradict themselves are refused") {
    BpeVocabulary bad = small();
    bad.merges.push_back("c a");
    CHECK(message_of<FileError>([&] { make_bpe_tokenizer(bad); }).find("\"c a\"") != std::string::npos);
    bad = small();
    bad.tokens[1] = "a";
    CHECK_THROWS_AS(make_bpe_tokenizer(bad), FileError);
    bad = small();
    bad.tokens[0] = "日";
    CHECK_THROWS_AS(make_bpe_tokenizer(bad), FileError);
    bad = small();
    bad.special.pop_back();
    CHECK_THROWS_AS(make_bpe_tokenizer(bad), FileError);
    bad = small();
    bad.eos = 10;
    CHECK_THROWS_AS(make_bpe_tokenizer(bad), FileError);
    CHECK_THROWS_AS(gguf_bpe_vocabulary("x", {"a"}, {}, {1}, "qwen2"), FileError);
    CHECK_THROWS_AS(gguf_bpe_vocabulary("x", {"a"}, {}, {}, "smollm"), FileError);
}

TEST_CASE("tokenizer.json: damaged ones end in FileError") {
    CHECK(make_bpe_tokenizer(hf_bpe_vocabulary("x", kJson))->encode("abc<e>", true) == Ids{3, 2, 4});
    const std::string good = kJson;
    for (size_t length = 0; length < good.size(); ++length)
        CHECK_THROWS_AS(hf_bpe_vocabulary("x", good.substr(0, length)), FileError);
    std::mt19937 random(7);
    for (int i = 0; i < 3000; ++i) {
        std::string text = good;
        for (int k = 0; k < 3; ++k) {
            const size_t at = random() % text.size();
            if (random() % 2)
                text[at] = static_cast<char>(random() % 128);
            else
                text.erase(at, random() % 8);
        }
        try {
            make_bpe_tokenizer(hf_bpe_vocabulary("x", text));
        } catch (const FileError&) {
        }
    }
}

TEST_CASE("text: well-formed UTF-8, replacement as Unicode advises, names for terminals") {
    CHECK(utf8_length("a") == 1);
    CHECK(utf8_length("\xF0\x9F\x8E\xA7") == 4);
    CHECK(utf8_length("\xC0\x80") == 0);      // overlong
    CHECK(utf8_length("\xED\xA0\x80") == 0);  // surrogate
    CHECK(utf8_length("\xF4\x90\x80\x80") == 0);
    // the example of Unicode 15, table 3-8
    CHECK(valid_utf8("a\xF1\x80\x80\xE1\x80\xC2"
                     "b\x80"
                     "c\x80\xBF"
                     "d") == "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
    CHECK(printable("a\x1B[2J\nb\xFF") == "a\\x1b[2J\\x0ab\\xff");
    CHECK(printable("\xC2\x9B") == "\\xc2\\x9b");
    CHECK(printable("abcdef", 3) == "abc…");
    const std::vector<std::string> names{"layer.0.weight", "layer.1.weight", "bias"};
    CHECK(nearest_name("layer.1.weigth", names) == "layer.1.weight");
    CHECK(nearest_name("x", std::vector<std::string>{}) == "");
}
