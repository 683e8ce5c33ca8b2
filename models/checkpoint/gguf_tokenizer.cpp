#include "models/checkpoint/gguf_tokenizer.h"

#include "data/tokenizer/bpe.h"
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

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_gguf(const Checkpoint& checkpoint) {
    const auto kind = value<std::string>(checkpoint, "tokenizer.ggml.model");
    if (kind != "gpt2")
        throw FileError("{}: tokenizer.ggml.model should be gpt2 (byte-level BPE), but is \"{}\"",
                        checkpoint.path().string(), printable(kind));
    BpeVocabulary vocabulary = gguf_bpe_vocabulary(checkpoint.path().string(),
                                                   value<std::vector<std::string>>(checkpoint, "tokenizer.ggml.tokens"),
                                                   value<std::vector<std::string>>(checkpoint, "tokenizer.ggml.merges"),
                                                   value<std::vector<int32_t>>(checkpoint, "tokenizer.ggml.token_type"),
                                                   value<std::string>(checkpoint, "tokenizer.ggml.pre"));
    vocabulary.bos = token_id(checkpoint, "tokenizer.ggml.bos_token_id");
    vocabulary.eos = token_id(checkpoint, "tokenizer.ggml.eos_token_id");
    return make_bpe_tokenizer(vocabulary);
}

}  // namespace wavllm
