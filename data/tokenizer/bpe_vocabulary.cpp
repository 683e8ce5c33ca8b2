// Byte-level BPE vocabularies from the two kinds of file that hold them.

#include <algorithm>
#include <fstream>
#include <iterator>

#include "data/json.h"
#include "data/tokenizer/bpe.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

using nlohmann::json;

BpeVocabulary gguf_bpe_vocabulary(std::string source, std::vector<std::string> tokens, std::vector<std::string> merges,
                                  const std::vector<int32_t>& token_type, std::string_view pre) {
    BpeVocabulary out;
    if (token_type.size() != tokens.size())
        throw FileError("{}: {} tokens, but tokenizer.ggml.token_type has {} entries", source, tokens.size(),
                        token_type.size());
    if (pre == "smollm")
        out.split = Split::smollm;
    else if (pre == "gpt-2")
        out.split = Split::gpt2;
    else
        throw FileError("{}: tokenizer.ggml.pre should be smollm or gpt-2, but is \"{}\"", source, printable(pre));
    constexpr int32_t kControl = 3;
    constexpr int32_t kUserDefined = 4;
    for (const int32_t type : token_type) out.special.push_back(type == kControl || type == kUserDefined);
    out.source = std::move(source);
    out.tokens = std::move(tokens);
    out.merges = std::move(merges);
    return out;
}

namespace {

/// A reader of one tokenizer.json; every member is checked before it is used.
class HfTokenizerFile {
public:
    HfTokenizerFile(const std::string& source, std::string_view text)
        : source_(source), root_(parse_json(text, source)) {}

    BpeVocabulary read() {
        const json& model = member(root_, "model", json::value_t::object);
        if (model.value("type", json()) != json("BPE"))
            throw FileError("{}: the tokenizer's model should be of type BPE", source_);
        if (root_.contains("normalizer") && !root_["normalizer"].is_null())
            throw FileError("{}: a tokenizer with a normalizer is not read; byte-level BPE has none", source_);
        BpeVocabulary out;
        out.source = source_;
        out.split = split(member(root_, "pre_tokenizer", json::value_t::object));
        const json& vocab = member(model, "vocab", json::value_t::object);
        const json added = root_.value("added_tokens", json::array());
        limit_ = vocab.size() + added.size();
        for (const auto& [token, id] : vocab.items()) put(out, id, token, false);
        for (const json& one : added) {
            for (const char* flag : {"lstrip", "rstrip", "single_word"})
                if (one.is_object() && one.value(flag, json(false)) != json(false))
                    throw FileError("{}: an added token has \"{}\" set, which is not supported", source_, flag);
            put(out, member(one, "id", json::value_t::number_unsigned),
                member(one, "content", json::value_t::string).get<std::string>(), true);
        }
        const auto hole = std::find(filled_.begin(), filled_.end(), false);
        if (hole != filled_.end()) throw FileError("{}: no token has the id {}", source_, hole - filled_.begin());
        for (const json& merge : member(model, "merges", json::value_t::array)) out.merges.push_back(merge_text(merge));
        return out;
    }

private:
    const json& member(const json& object, const char* name, json::value_t type) const {
        if (!object.is_object() || !object.contains(name) || object[name].type() != type)
            throw FileError("{}: not a tokenizer.json that can be read: a \"{}\" is missing or of the wrong type",
                            source_, name);
        return object[name];
    }

    void put(BpeVocabulary& out, const json& id_value, const std::string& token, bool special) {
        const uint64_t id = id_value.is_number_unsigned() ? id_value.get<uint64_t>() : UINT64_MAX;
        // ids are dense, so none is as large as the number of entries; this bounds what is allocated
        if (id >= limit_)
            throw FileError("{}: token \"{}\" has an id that is not in 0 to {}", source_, printable(token), limit_ - 1);
        if (id >= out.tokens.size()) {
            out.tokens.resize(id + 1);
            out.special.resize(id + 1);
            filled_.resize(id + 1);
        }
        // an added token may be in the model's vocabulary too: it is the same one, now special
        if (filled_[id] && out.tokens[id] != token)
            throw FileError("{}: the tokens \"{}\" and \"{}\" have the same id {}", source_, printable(out.tokens[id]),
                            printable(token), id);
        filled_[id] = true;
        out.tokens[id] = token;
        out.special[id] = special;
    }

    Split split(const json& pre) const {
        const auto is = [](const json& one, const char* type) {
            return one.is_object() && one.value("type", json()) == json(type);
        };
        const auto byte_level = [&](const json& one) {
            return is(one, "ByteLevel") && one.value("add_prefix_space", json(true)) == json(false) &&
                   one.value("use_regex", json(true)) == json(true);
        };
        if (byte_level(pre)) return Split::gpt2;
        if (is(pre, "Sequence") && pre.contains("pretokenizers")) {
            const json& parts = pre["pretokenizers"];
            if (parts.is_array() && parts.size() == 2 && is(parts[0], "Digits") &&
                parts[0].value("individual_digits", json(false)) == json(true) && byte_level(parts[1]))
                return Split::smollm;
        }
        throw FileError(
            "{}: the pre-tokenizer should be ByteLevel without prefix space (GPT-2, Whisper), or individual "
            "Digits and then that (SmolLM)",
            source_);
    }

    std::string merge_text(const json& merge) const {
        if (merge.is_string()) return merge.get<std::string>();
        if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
            return merge[0].get<std::string>() + " " + merge[1].get<std::string>();
        throw FileError("{}: a merge should be \"left right\" or [left, right]", source_);
    }

    const std::string& source_;
    json root_;
    size_t limit_ = 0;
    std::vector<bool> filled_;
};

void add_whisper_timestamps(BpeVocabulary& vocabulary) {
    if (vocabulary.tokens.empty() || vocabulary.tokens.back() != "<|notimestamps|>") return;
    for (int i = 0; i <= 1500; ++i) {
        vocabulary.tokens.push_back(fmt::format("<|{}.{:02d}|>", i / 50, i % 50 * 2));
        vocabulary.special.push_back(true);
    }
}

}  // namespace

BpeVocabulary hf_bpe_vocabulary(const std::string& source, std::string_view json_text, std::string_view bos,
                                std::string_view eos) {
    BpeVocabulary out = HfTokenizerFile(source, json_text).read();
    add_whisper_timestamps(out);
    const auto special = [&](std::string_view name, std::string_view otherwise) {
        std::optional<int32_t> found;
        for (size_t id = 0; id < out.tokens.size(); ++id)
            if (out.special[id] && (out.tokens[id] == name || (!found && out.tokens[id] == otherwise)))
                found = static_cast<int32_t>(id);
        return found;
    };
    out.bos = special(bos, "<s>");
    out.eos = special(eos, "</s>");
    return out;
}

std::unique_ptr<Tokenizer> open_hf_bpe(const std::filesystem::path& tokenizer_json) {
    std::ifstream in(tokenizer_json, std::ios::binary);
    if (!in) throw FileError("{}: cannot be read", tokenizer_json.string());
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const std::filesystem::path beside = tokenizer_json.parent_path() / "tokenizer_config.json";
    const json config = std::filesystem::exists(beside) ? read_json_file(beside) : json();
    const auto named = [&](const char* key, std::string otherwise) {  // "</s>", or {"content": "</s>", ...}
        if (!config.is_object() || !config.contains(key)) return otherwise;
        const json& token =
            config[key].is_object() && config[key].contains("content") ? config[key]["content"] : config[key];
        return token.is_string() ? token.get<std::string>() : otherwise;
    };
    return make_bpe_tokenizer(hf_bpe_vocabulary(tokenizer_json.string(), text, named("bos_token", "<|startoftext|>"),
                                                named("eos_token", "<|endoftext|>")));
}

}  // namespace wavllm
