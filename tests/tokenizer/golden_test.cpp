// Witness: ids and texts that the original tokenizers gave (golden/real/tokenizers.json, golden/tokens.json).

#include <doctest/doctest.h>

#include "data/json.h"
#include "data/tokenizer/bpe.h"
#include "data/tokenizer/sentencepiece.h"
#include "models/checkpoint/gguf_tokenizer.h"
#include "models/convert/hf_tokenizer.h"
#include "tensor/error.h"
#include "tests/support/real_models.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;
using nlohmann::json;
using Ids = std::vector<int32_t>;

namespace {

std::unique_ptr<Tokenizer> smollm2() {
    return tokenizer_from_gguf(*open_checkpoint(real_model("smollm2-135m-instruct-q4_1")));
}

std::unique_ptr<Tokenizer> whisper(const std::string& model) {
    const auto path = real_model(model, "tokenizer");
    return make_bpe_tokenizer(hf_bpe_vocabulary(path.string(), read_all(path)));
}

void check_strings(const Tokenizer& tokenizer, const char* key, bool decodes_exactly) {
    const json golden = read_json_file(shared("golden/real/tokenizers.json"));
    REQUIRE(golden["strings"].size() == 20);
    for (size_t i = 0; i < golden["strings"].size(); ++i) {
        const auto text = golden["strings"][i].get<std::string>();
        CAPTURE(text);
        const Ids ids = tokenizer.encode(text, true);
        CHECK(ids == golden[key][i].get<Ids>());
        if (decodes_exactly) CHECK(tokenizer.decode(ids, true) == text);
        // token by token gives the same text, and never half a character
        StreamDecoder stream(tokenizer, true);
        std::string streamed;
        for (const int32_t id : ids) {
            const std::string piece = stream.push(id);
            CHECK(piece.find("\xEF\xBF\xBD") == std::string::npos);
            streamed += piece;
        }
        CHECK(streamed + stream.finish() == tokenizer.decode(ids, true));
    }
}

}  // namespace

TEST_CASE("tokenizer: SmolLM2 from GGUF gives the original's ids") {
    const auto tokenizer = smollm2();
    check_strings(*tokenizer, "smollm2", true);
    CHECK(tokenizer->vocab_size() == 49152);
    CHECK(tokenizer->eos() == 2);
    CHECK(tokenizer->id_of("<|im_start|>") == 1);
    CHECK(tokenizer->is_special(1));
    // as plain text, no special token comes out
    for (const int32_t id : tokenizer->encode("a<|im_end|>b")) CHECK_FALSE(tokenizer->is_special(id));
    CHECK(tokenizer->decode(tokenizer->encode("a<|im_end|>b")) == "a<|im_end|>b");
    CHECK(tokenizer->decode(tokenizer->encode("a<|im_end|>b", true)) == "ab");
    CHECK_THROWS_AS(tokenizer->token_bytes(49152), UsageError);
    CHECK_THROWS_AS(tokenizer->token_bytes(-1), UsageError);
}

TEST_CASE("tokenizer: SmolLM2's tokenizer.json, written from the GGUF, gives the original's ids") {
    TempFolder folder;
    CHECK(write_hf_tokenizer(folder.path(), *open_checkpoint(real_model("smollm2-135m-instruct-q4_1"))).size() == 2);
    const auto written = open_hf_bpe(folder / "tokenizer.json");
    check_strings(*written, "smollm2", true);
    const auto tokenizer = smollm2();
    REQUIRE(tokenizer->eos().has_value());
    CHECK(written->eos() == tokenizer->eos());
    CHECK(written->bos() == tokenizer->bos());
    // without its config, by the usual names; the config's tokens may be written out
    const int32_t eos = *tokenizer->eos();
    std::filesystem::remove(folder / "tokenizer_config.json");
    CHECK(open_hf_bpe(folder / "tokenizer.json")->eos() != eos);
    folder.write("tokenizer_config.json", R"({"bos_token": null, "eos_token": {"content": "<|im_end|>"}})");
    CHECK(open_hf_bpe(folder / "tokenizer.json")->eos() == eos);
    REQUIRE(written->vocab_size() == tokenizer->vocab_size());
    std::string all;
    for (int32_t id = 0; id < written->vocab_size(); ++id) {
        if (written->token_bytes(id) != tokenizer->token_bytes(id) ||
            written->is_special(id) != tokenizer->is_special(id))
            FAIL_CHECK("token " << id);
        all += tokenizer->token_bytes(id);
    }
    CHECK(written->encode(all, true) == tokenizer->encode(all, true));
}

TEST_CASE("tokenizer: Whisper from tokenizer.json gives the original's ids, and timestamps follow") {
    const auto tokenizer = whisper("whisper-base");
    check_strings(*tokenizer, "whisper_base", true);
    CHECK(tokenizer->vocab_size() == 51865);
    CHECK(tokenizer->eos() == 50257);
    CHECK(tokenizer->id_of("<|en|>") == 50259);
    CHECK(tokenizer->id_of("<|notimestamps|>") == 50363);
    CHECK(tokenizer->token_bytes(50364) == "<|0.00|>");
    CHECK(tokenizer->token_bytes(51864) == "<|30.00|>");
    CHECK(whisper("whisper-tiny")->vocab_size() == 51864);
}

TEST_CASE("tokenizer: LLaMA-2's SentencePiece gives the original's ids and texts") {
    const auto tokenizer = open_sentencepiece(shared("data/tokenizer/llama2.tokenizer.model"));
    check_strings(*tokenizer, "llama2", true);
    CHECK(tokenizer->vocab_size() == 32000);
    CHECK(tokenizer->bos() == 1);
    CHECK(tokenizer->eos() == 2);
    CHECK_FALSE(tokenizer->id_of("no such piece").has_value());
    const json golden = read_json_file(shared("golden/tokens.json"));
    REQUIRE(golden["decode"].size() == 8);
    for (const json& row : golden["decode"])
        CHECK(tokenizer->decode(row["ids"].get<Ids>()) == row["text"].get<std::string>());
    TempFolder folder;
    CHECK_THROWS_AS(open_sentencepiece(folder.write("x", "no model at all")), FileError);
    CHECK_THROWS_AS(open_sentencepiece(folder / "missing"), FileError);
}

TEST_CASE("tokenizer: malformed UTF-8 is read as U+FFFD, a byte without a token left out as in the original") {
    const auto tokenizer = smollm2();
    CHECK(tokenizer->encode("a\xFFz") == tokenizer->encode("a\xEF\xBF\xBDz"));
    CHECK(tokenizer->encode("a\x04z") == Ids{*tokenizer->id_of("a"), *tokenizer->id_of("z")});
    CHECK(tokenizer->encode("\xE2\x82") == tokenizer->encode("\xEF\xBF\xBD"));
}

TEST_CASE("tokenizer: a megabyte without a space takes no more than a moment") {
    const auto tokenizer = smollm2();
    const std::string letters(1 << 20, 'a');
    CHECK(tokenizer->decode(tokenizer->encode(letters)) == letters);
}
