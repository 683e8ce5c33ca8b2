#pragma once
// Byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019), as SmolLM2 and Whisper use it.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/split.h"
#include "data/tokenizer/tokenizer.h"

namespace wavllm {

/// A vocabulary as files hold it. Tokens and merges are written in GPT-2's visible alphabet (a space is "Ġ"); special
/// tokens are plain text.
struct BpeVocabulary {
    std::string source;               ///< the file, for errors
    std::vector<std::string> tokens;  ///< id -> token
    std::vector<std::string> merges;  ///< "left right", most important first
    std::vector<bool> special;        ///< id -> special token
    Split split = Split::gpt2;
    std::optional<int32_t> bos;
    std::optional<int32_t> eos;
};

/// How GPT-2's visible alphabet writes a byte: one printable character in UTF-8.
std::string visible_byte(unsigned char byte);

/// Throws FileError if the vocabulary contradicts itself: a merge of tokens that are not in it, a token twice.
std::unique_ptr<Tokenizer> make_bpe_tokenizer(const BpeVocabulary& vocabulary);

/// From GGUF's metadata (tokenizer.ggml.tokens, .merges, .token_type, .pre). A token_type of 3 (control) or 4 (user
/// defined) makes a token special. `pre` must be "smollm" or "gpt-2". Throws FileError.
BpeVocabulary gguf_bpe_vocabulary(std::string source, std::vector<std::string> tokens, std::vector<std::string> merges,
                                  const std::vector<int32_t>& token_type, std::string_view pre);

/// From the text of a Hugging Face tokenizer.json with a byte-level BPE model. bos and eos are set where special tokens of
/// those names exist, or else LLaMA's <s> and </s>. A Whisper vocabulary whose file ends at <|notimestamps|> gets the 1501
/// timestamp tokens <|0.00|> to <|30.00|> that follow in every Whisper model. Throws FileError.
BpeVocabulary hf_bpe_vocabulary(const std::string& source, std::string_view json_text,
                                std::string_view bos = "<|startoftext|>", std::string_view eos = "<|endoftext|>");

/// The tokenizer of such a file. Which tokens are bos and eos is said by the tokenizer_config.json beside it, if there is one.
/// Throws FileError.
std::unique_ptr<Tokenizer> open_hf_bpe(const std::filesystem::path& tokenizer_json);

}  // namespace wavllm
