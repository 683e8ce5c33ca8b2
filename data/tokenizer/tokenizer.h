#pragma once
// Text to token ids and back.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wavllm {

/// A tokenizer is immutable: any number of threads may use it at once.
class Tokenizer {
public:
    virtual ~Tokenizer() = default;

    /// Token ids of `text`, no BOS or EOS added. Malformed UTF-8 is read as U+FFFD. A byte that the vocabulary has no
    /// token for is left out, as the original implementations do (SmolLM2 lacks a few control characters and lead bytes
    /// of unassigned planes). Special tokens ("<|im_end|>") that occur in the text become plain text, unless
    /// parse_special: never set that for text that a user or a transcript brings in.
    virtual std::vector<int32_t> encode(std::string_view text, bool parse_special = false) const = 0;

    /// The same with the `merges` most important merges of the vocabulary alone: short, frequent pieces, of which any
    /// word can be spelt. Throws UsageError if the tokenizer has no merges (SentencePiece).
    virtual std::vector<int32_t> encode_pieces(std::string_view text, int64_t merges) const;
    /// All tokens that encode_pieces can give, ascending.
    virtual std::vector<int32_t> pieces(int64_t merges) const;

    /// The bytes a token stands for; a special token's are its name. Not necessarily whole UTF-8 characters. Throws
    /// UsageError if the id is not in the vocabulary.
    virtual std::string token_bytes(int32_t id) const = 0;

    /// Whether decode leaves the token out: special and control tokens.
    virtual bool is_special(int32_t id) const = 0;

    /// The id of a special token by its exact name, or of any token by its bytes.
    virtual std::optional<int32_t> id_of(std::string_view token) const = 0;

    virtual int32_t vocab_size() const = 0;
    virtual std::optional<int32_t> bos() const = 0;
    virtual std::optional<int32_t> eos() const = 0;

    /// The text of the ids in valid UTF-8. Special tokens are left out unless keep_special.
    std::string decode(std::span<const int32_t> ids, bool keep_special = false) const;

    /// How the original implementation turns bytes into text.
    struct TextRules {
        bool drop_first_space = false;   ///< SentencePiece puts one in front of every text
        bool replace_each_byte = false;  ///< a U+FFFD for each malformed byte, not for each malformed stretch
    };
    virtual TextRules text_rules() const {
        return {};
    }
};

/// Turns tokens into text as they come: emits complete UTF-8 characters only. The concatenation of all that push() and
/// finish() return equals Tokenizer::decode of all ids.
class StreamDecoder {
public:
    /// `tokenizer` must outlive the decoder.
    explicit StreamDecoder(const Tokenizer& tokenizer, bool keep_special = false)
        : tokenizer_(&tokenizer), rules_(tokenizer.text_rules()), keep_special_(keep_special) {}

    /// The characters completed by this token; often empty.
    std::string push(int32_t id);
    /// What is left at the end: U+FFFD for a character that was never completed.
    std::string finish();

private:
    std::string take_complete(bool at_end);

    const Tokenizer* tokenizer_;
    Tokenizer::TextRules rules_;
    bool keep_special_;
    bool started_ = false;
    std::string pending_;
};

}  // namespace wavllm
