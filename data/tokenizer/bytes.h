#pragma once
#include "data/tokenizer/tokenizer.h"

namespace wavllm {

/// Of models that are trained on bytes: 256 of them, BOS, EOS, two that mean nothing.
inline constexpr int32_t kByteVocab = 260;

/// One token a byte, for models with random weights, which come without a vocabulary: the byte tokens that LLaMA's own
/// vocabulary has (byte + 3), BOS 1, EOS 2 and nothing else that means something.
class ByteTokenizer final : public Tokenizer {
public:
    /// vocab: tokens of the language model; at least 259. Throws UsageError otherwise.
    explicit ByteTokenizer(int32_t vocab);

    std::vector<int32_t> encode(std::string_view text, bool parse_special = false) const override;
    std::string token_bytes(int32_t id) const override;
    bool is_special(int32_t id) const override;
    /// BOS and EOS by "<s>" and "</s>", and single bytes. ChatML's tokens are not there.
    std::optional<int32_t> id_of(std::string_view token) const override;
    int32_t vocab_size() const override;
    std::optional<int32_t> bos() const override;
    std::optional<int32_t> eos() const override;

private:
    int32_t vocab_;
};

/// The same as the text of a Hugging Face tokenizer.json: a byte-level BPE without merges. It makes the folder of a model
/// that was trained on bytes a whole language model, for hf_bpe_vocabulary (bpe.h) and for transformers.
std::string byte_tokenizer_json();

}  // namespace wavllm
