#include "data/tokenizer/bytes.h"

#include <nlohmann/json.hpp>

#include "data/tokenizer/bpe.h"
#include "tensor/error.h"

namespace wavllm {

namespace {

constexpr int32_t kFirst = 3, kBos = 1, kEos = 2;

}  // namespace

ByteTokenizer::ByteTokenizer(int32_t vocab) : vocab_(vocab) {
    if (vocab < kFirst + 256) throw UsageError("a vocabulary of {} tokens has no room for 256 bytes", vocab);
}

std::vector<int32_t> ByteTokenizer::encode(std::string_view text, bool) const {
    std::vector<int32_t> ids;
    ids.reserve(text.size());
    for (const char c : text) ids.push_back(kFirst + static_cast<unsigned char>(c));
    return ids;
}

std::string ByteTokenizer::token_bytes(int32_t id) const {
    if (id < 0 || id >= vocab_) throw UsageError("token {} is not among the {} of the vocabulary", id, vocab_);
    if (id == kBos) return "<s>";
    if (id == kEos) return "</s>";
    return id < kFirst || id >= kFirst + 256 ? "" : std::string(1, static_cast<char>(id - kFirst));
}

bool ByteTokenizer::is_special(int32_t id) const {
    return id < kFirst || id >= kFirst + 256;
}

std::optional<int32_t> ByteTokenizer::id_of(std::string_view token) const {
    if (token == "<s>") return kBos;
    if (token == "</s>") return kEos;
    if (token.size() == 1) return kFirst + static_cast<unsigned char>(token[0]);
    return std::nullopt;
}

int32_t ByteTokenizer::vocab_size() const {
    return vocab_;
}

std::optional<int32_t> ByteTokenizer::bos() const {
    return kBos;
}

std::optional<int32_t> ByteTokenizer::eos() const {
    return kEos;
}

std::string byte_tokenizer_json() {
    nlohmann::ordered_json vocab, added = nlohmann::ordered_json::array();
    for (const auto& [name, id] : {std::pair("<unk>", 0), {"<s>", kBos}, {"</s>", kEos}}) {
        vocab[name] = id;
        added.push_back({{"id", id},
                         {"content", name},
                         {"single_word", false},
                         {"lstrip", false},
                         {"rstrip", false},
                         {"normalized", false},
                         {"special", true}});
    }
    for (int byte = 0; byte < 256; ++byte) vocab[visible_byte(static_cast<unsigned char>(byte))] = kFirst + byte;
    const nlohmann::ordered_json byte_level = {
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
    return nlohmann::ordered_json{{"version", "1.0"},
                                  {"added_tokens", added},
                                  {"pre_tokenizer", byte_level},
                                  {"decoder", byte_level},
                                  {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}}
        .dump(1);
}

}  // namespace wavllm
