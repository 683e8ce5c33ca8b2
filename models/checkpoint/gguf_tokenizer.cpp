#include "models/checkpoint/gguf_tokenizer.h"

#include <algorithm>

#include "data/tokenizer/bpe.h"
#include "data/tokenizer/sentencepiece_model.h"
#include "models/checkpoint/gguf_format.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

using nlohmann::json;

namespace {

const json& member(const Checkpoint& file, const char* key) {
    const json& facts = file.metadata();
    if (!facts.contains(key))
        throw FileError("{}: the metadata lack \"{}\", which its tokenizer needs", file.path().string(), key);
    return facts[key];
}

template <class T>
T value(const Checkpoint& file, const char* key) {
    try {
        return member(file, key).get<T>();
    } catch (const json::exception&) {
        throw FileError("{}: the metadata \"{}\" are of the wrong type", file.path().string(), key);
    }
}

std::optional<int32_t> token_id(const Checkpoint& file, const char* key) {
    if (!file.metadata().contains(key)) return std::nullopt;
    return value<int32_t>(file, key);
}

std::unique_ptr<Tokenizer> byte_level_bpe(const Checkpoint& checkpoint) {
    BpeVocabulary vocabulary = gguf_bpe_vocabulary(checkpoint.path().string(),
                                                   value<std::vector<std::string>>(checkpoint, "tokenizer.ggml.tokens"),
                                                   value<std::vector<std::string>>(checkpoint, "tokenizer.ggml.merges"),
                                                   value<std::vector<int32_t>>(checkpoint, "tokenizer.ggml.token_type"),
                                                   value<std::string>(checkpoint, "tokenizer.ggml.pre"));
    vocabulary.bos = token_id(checkpoint, "tokenizer.ggml.bos_token_id");
    vocabulary.eos = token_id(checkpoint, "tokenizer.ggml.eos_token_id");
    return make_bpe_tokenizer(vocabulary);
}

}  // namespace

SentencePieceModel sentencepiece_of_gguf(const Checkpoint& checkpoint) {
    SentencePieceModel model{.source = checkpoint.path().string(), .bpe = true};
    model.pieces = value<std::vector<std::string>>(checkpoint, "tokenizer.ggml.tokens");
    model.scores = value<std::vector<float>>(checkpoint, "tokenizer.ggml.scores");
    model.types = value<std::vector<int32_t>>(checkpoint, "tokenizer.ggml.token_type");
    model.remove_extra_whitespaces = false;  // as in LLaMA; GGUF's "llama" has no other
    if (checkpoint.metadata().contains("tokenizer.ggml.add_space_prefix"))
        model.add_dummy_prefix = value<bool>(checkpoint, "tokenizer.ggml.add_space_prefix");
    const auto is_byte = [](int32_t type) { return type == static_cast<int32_t>(TokenType::byte); };
    model.byte_fallback = std::any_of(model.types.begin(), model.types.end(), is_byte);
    for (const auto& [key, piece] : {std::pair("tokenizer.ggml.unknown_token_id", &model.unk),
                                     {"tokenizer.ggml.bos_token_id", &model.bos},
                                     {"tokenizer.ggml.eos_token_id", &model.eos},
                                     {"tokenizer.ggml.padding_token_id", &model.pad}}) {
        const auto id = token_id(checkpoint, key);
        if (!id) continue;
        if (*id < 0 || static_cast<size_t>(*id) >= model.pieces.size())
            throw FileError("{}: {} is {}, which is not in its vocabulary of {}", model.source, key, *id,
                            model.pieces.size());
        *piece = model.pieces[static_cast<size_t>(*id)];
    }
    return model;
}

std::unique_ptr<Tokenizer> tokenizer_from_gguf(const Checkpoint& checkpoint) {
    const auto kind = value<std::string>(checkpoint, "tokenizer.ggml.model");
    if (kind == "gpt2") return byte_level_bpe(checkpoint);
    if (kind == "llama") return make_sentencepiece(sentencepiece_of_gguf(checkpoint));
    throw FileError("{}: tokenizer.ggml.model should be gpt2 (byte-level BPE) or llama (SentencePiece), but is \"{}\"",
                    checkpoint.path().string(), printable(kind));
}

}  // namespace wavllm
