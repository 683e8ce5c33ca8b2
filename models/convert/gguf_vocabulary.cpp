#include "models/convert/gguf_vocabulary.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include "data/json.h"
#include "data/tokenizer/bpe.h"
#include "data/tokenizer/sentencepiece_model.h"
#include "models/checkpoint/gguf_format.h"
#include "models/checkpoint/readers.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// tokenizer.ggml's lists, and what the special tokens are called.
struct Vocabulary {
    std::vector<std::string> tokens;
    std::vector<int32_t> types;
    std::vector<float> scores;        // SentencePiece's
    std::vector<std::string> merges;  // BPE's
    std::string bos, eos, unk, pad;   // "": the configuration may say
};

int32_t number(TokenType type) {
    return static_cast<int32_t>(type);
}

json json_beside(const fs::path& file, const char* name) {
    const fs::path path = file.parent_path() / name;
    return fs::exists(path) ? read_json_file(path, 1 << 24) : json();
}

/// Tokens are added up to the rows of the embedding, as every writer of GGUF does.
void fill(Vocabulary& v, const fs::path& file, int64_t vocab) {
    if (std::ssize(v.tokens) > vocab)
        throw FileError("{}: its vocabulary has {} tokens, but the model's embedding {} rows; is it this model's?",
                        file.string(), v.tokens.size(), vocab);
    const bool scores = !v.scores.empty();
    for (int64_t id = std::ssize(v.tokens); id < vocab; ++id) {
        v.tokens.push_back(fmt::format("[PAD{}]", id));
        v.types.push_back(number(TokenType::unused));
        if (scores) v.scores.push_back(-10000);
    }
}

Vocabulary byte_level_bpe(GgufMetadata& m, const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) throw FileError("{}: cannot be read", file.string());
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    BpeVocabulary bpe = hf_bpe_vocabulary(file.string(), text);
    make_bpe_tokenizer(bpe);  // throws where it contradicts itself
    // added tokens that are not special are text that is never cut
    std::set<int64_t> user_defined;
    for (const json& token : parse_json(text, file.string()).value("added_tokens", json::array()))
        if (token.value("special", json(true)) == json(false)) user_defined.insert(token["id"].get<int64_t>());
    Vocabulary v{.tokens = std::move(bpe.tokens), .merges = std::move(bpe.merges)};
    for (size_t id = 0; id < v.tokens.size(); ++id)
        v.types.push_back(number(!bpe.special[id]                                  ? TokenType::normal
                                 : user_defined.contains(static_cast<int64_t>(id)) ? TokenType::user_defined
                                                                                   : TokenType::control));
    m.put_text("tokenizer.ggml.model", "gpt2");
    m.put_text("tokenizer.ggml.pre", bpe.split == Split::smollm ? "smollm" : "gpt-2");
    m.put_bool("tokenizer.ggml.add_space_prefix", false);
    return v;
}

Vocabulary sentencepiece(GgufMetadata& m, const fs::path& file) {
    SentencePieceModel model = parse_sentencepiece_model(file.string(), read_sentencepiece_file(file));
    const auto refuse = [&](bool is, const char* what) {
        if (is)
            throw FileError(
                "{}: {}, which GGUF's \"llama\" tokenizer cannot say; it is SentencePiece's BPE of plain text",
                file.string(), what);
    };
    refuse(!model.bpe, "a SentencePiece model that is not BPE");
    refuse(model.normalises, "it normalises Unicode");
    refuse(model.remove_extra_whitespaces, "it removes repeated spaces");
    refuse(model.whitespace_as_suffix, "it ends words in their spaces");
    make_sentencepiece(model);  // throws where it contradicts itself
    Vocabulary v{.tokens = model.pieces, .types = model.types, .scores = model.scores};
    const json added = json_beside(file, "added_tokens.json");
    for (const auto& [token, id] : added.items()) {
        const uint64_t at = id.is_number_unsigned() ? id.get<uint64_t>() : UINT64_MAX;
        if (at >= v.tokens.size() + added.size())
            throw FileError("{}: the token \"{}\" has an id that is not in 0 to {}",
                            (file.parent_path() / "added_tokens.json").string(), printable(token),
                            v.tokens.size() + added.size() - 1);
        while (v.tokens.size() <= at) {
            v.tokens.push_back(fmt::format("[PAD{}]", v.tokens.size()));
            v.types.push_back(number(TokenType::unused));
            v.scores.push_back(-10000);
        }
        if (v.tokens[at] == token) continue;
        v.tokens[at] = token;
        v.types[at] = number(TokenType::user_defined);
        v.scores[at] = -1000;
    }
    for (const auto& [piece, to] : {std::pair(&model.unk, &v.unk), {&model.bos, &v.bos}, {&model.eos, &v.eos}})
        if (model.id_of(*piece) >= 0) *to = *piece;
    m.put_text("tokenizer.ggml.model", "llama");
    m.put_text("tokenizer.ggml.pre", "default");
    m.put_bool("tokenizer.ggml.add_space_prefix", model.add_dummy_prefix);
    return v;
}

/// The id of a special token: by its name in tokenizer_config.json, its number in config.json, or the tokenizer's own name.
std::optional<uint32_t> special_id(const Vocabulary& v, const json& names, const json& config, const std::string& kind,
                                   const std::string& own) {
    const auto id_of = [&](const std::string& token) -> std::optional<uint32_t> {
        const auto it = std::find(v.tokens.begin(), v.tokens.end(), token);
        if (token.empty() || it == v.tokens.end()) return std::nullopt;
        return static_cast<uint32_t>(it - v.tokens.begin());
    };
    const json name = names.is_object() ? names.value(kind + "_token", json()) : json();
    const json content = name.is_object() ? name.value("content", json()) : name;
    if (content.is_string())
        if (const auto id = id_of(content.get<std::string>())) return id;
    json number = config.is_object() ? config.value(kind + "_token_id", json()) : json();
    if (number.is_array() && !number.empty()) number = number[0];  // of several ends the first
    if (number.is_number_unsigned() && number.get<uint64_t>() < v.tokens.size()) return number.get<uint32_t>();
    return id_of(own);
}

void put(GgufMetadata& m, const Vocabulary& v, const fs::path& file, const json& config) {
    m.put_texts("tokenizer.ggml.tokens", v.tokens);
    if (!v.scores.empty()) m.put_f32s("tokenizer.ggml.scores", v.scores);
    m.put_i32s("tokenizer.ggml.token_type", v.types);
    if (!v.merges.empty()) m.put_texts("tokenizer.ggml.merges", v.merges);
    const json names = json_beside(file, "tokenizer_config.json");
    for (const auto& [kind, own, key] : {std::tuple("bos", &v.bos, "bos_token_id"),
                                         {"eos", &v.eos, "eos_token_id"},
                                         {"unk", &v.unk, "unknown_token_id"},
                                         {"pad", &v.pad, "padding_token_id"}})
        if (const auto id = special_id(v, names, config, kind, *own))
            m.put_u32(fmt::format("tokenizer.ggml.{}", key), *id);
    if (!names.is_object()) return;
    for (const char* flag : {"add_bos_token", "add_eos_token"})
        if (names.contains(flag) && names[flag].is_boolean())
            m.put_bool(fmt::format("tokenizer.ggml.{}", flag), names[flag].get<bool>());
    if (names.contains("chat_template") && names["chat_template"].is_string())
        m.put_text("tokenizer.chat_template", names["chat_template"].get<std::string>());
}

void copy_from_gguf(GgufMetadata& m, const fs::path& file, int64_t vocab) {
    const auto gguf = open_checkpoint(file);
    const auto* loaded = dynamic_cast<const LoadedCheckpoint*>(gguf.get());
    const auto tokens = gguf->metadata().find("tokenizer.ggml.tokens");
    if (!loaded || tokens == gguf->metadata().end() || !tokens->is_array())
        throw FileError("{}: there is no tokenizer in it", file.string());
    if (std::ssize(*tokens) != vocab)
        throw FileError("{}: its vocabulary has {} tokens, but the model's embedding {} rows", file.string(),
                        tokens->size(), vocab);
    for (const auto& [key, value] : loaded->key_values)
        if (key.starts_with("tokenizer.")) m.put_stored(key, value);
}

fs::path find_file(const fs::path& where) {
    if (!fs::is_directory(where)) return where;
    for (const char* name : {"tokenizer.model", "tokenizer.json"})
        if (fs::exists(where / name)) return where / name;
    throw FileError(
        "{}: no tokenizer.model or tokenizer.json, and a GGUF file holds its tokenizer: put one there, or name it with "
        "--tokenizer (a GGUF of the model will do)",
        where.empty() ? "." : where.string());
}

}  // namespace

void put_vocabulary(GgufMetadata& m, const fs::path& where, int64_t vocab, const json& config) {
    const fs::path file = find_file(where.empty() ? fs::path(".") : where);
    if (file.extension() == ".gguf") return copy_from_gguf(m, file, vocab);
    Vocabulary v = file.extension() == ".json" ? byte_level_bpe(m, file) : sentencepiece(m, file);
    fill(v, file, vocab);
    put(m, v, file, config);
}

}  // namespace wavllm
