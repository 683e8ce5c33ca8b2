#include "data/tokenizer/bpe.h"

#include <algorithm>
#include <array>
#include <functional>
#include <queue>
#include <tuple>
#include <unordered_map>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

/// GPT-2's visible alphabet: every byte is written as one printable character, itself where it is one.
class VisibleAlphabet {
public:
    VisibleAlphabet() {
        int next = 256;
        for (int byte = 0; byte < 256; ++byte) {
            const bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
            code_of_[static_cast<size_t>(byte)] = visible ? byte : next++;
            byte_of_[code_of_[static_cast<size_t>(byte)]] = byte;
        }
    }

    std::string character(unsigned char byte) const {
        const int code = code_of_[byte];
        if (code < 128) return {static_cast<char>(code)};
        return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
    }

    /// The bytes that a token in the alphabet stands for, or nothing if a character is not of it.
    std::optional<std::string> bytes(std::string_view token) const {
        std::string out;
        while (!token.empty()) {
            const size_t length = utf8_length(token);
            if (length == 0 || length > 2) return std::nullopt;
            const auto first = static_cast<unsigned char>(token[0]);
            const int code = length == 1 ? first : (first & 0x1F) << 6 | (token[1] & 0x3F);
            const auto found = byte_of_.find(code);
            if (found == byte_of_.end()) return std::nullopt;
            out += static_cast<char>(found->second);
            token.remove_prefix(length);
        }
        return out;
    }

private:
    std::unordered_map<int, int> byte_of_;
    std::array<int, 256> code_of_{};
};

class BpeTokenizer : public Tokenizer {
public:
    explicit BpeTokenizer(const BpeVocabulary& vocabulary)
        : split_(vocabulary.split), bos_(vocabulary.bos), eos_(vocabulary.eos) {
        if (vocabulary.special.size() != vocabulary.tokens.size())
            throw FileError("{}: {} tokens, but {} marks for special tokens", vocabulary.source,
                            vocabulary.tokens.size(), vocabulary.special.size());
        if (vocabulary.tokens.size() > INT32_MAX) throw FileError("{}: too many tokens", vocabulary.source);
        for (const auto& id : {bos_, eos_})
            if (id && (*id < 0 || static_cast<size_t>(*id) >= vocabulary.tokens.size()))
                throw FileError("{}: its BOS or EOS id {} is not in the vocabulary of {}", vocabulary.source, *id,
                                vocabulary.tokens.size());
        add_tokens(vocabulary);
        add_merges(vocabulary);
        byte_ids_.fill(-1);
        for (int byte = 0; byte < 256; ++byte)
            if (const auto found = ids_.find(std::string(1, static_cast<char>(byte))); found != ids_.end())
                byte_ids_[byte] = found->second;
    }

    std::vector<int32_t> encode(std::string_view text, bool parse_special) const override {
        const std::string valid = valid_utf8(text);
        std::vector<int32_t> out;
        std::string_view rest = valid;
        size_t plain = 0;  // bytes before the next special token
        while (parse_special && plain < rest.size()) {
            const int32_t id = special_at(rest.substr(plain));
            if (id < 0) {
                ++plain;
                continue;
            }
            encode_plain(rest.substr(0, plain), out);
            out.push_back(id);
            rest.remove_prefix(plain + tokens_[id].size());
            plain = 0;
        }
        encode_plain(rest, out);
        return out;
    }

    std::vector<int32_t> encode_pieces(std::string_view text, int64_t merges) const override {
        std::vector<int32_t> out;
        encode_plain(valid_utf8(text), out, merges);
        return out;
    }
    std::vector<int32_t> pieces(int64_t merges) const override {
        std::vector<int32_t> all;
        for (const int32_t id : byte_ids_)
            if (id >= 0) all.push_back(id);
        for (const auto& [pair, merge] : merges_)
            if (merge.rank < merges) all.push_back(merge.merged);
        std::sort(all.begin(), all.end());
        all.erase(std::unique(all.begin(), all.end()), all.end());
        return all;
    }

    std::string token_bytes(int32_t id) const override {
        check(id);
        return tokens_[id];
    }
    bool is_special(int32_t id) const override {
        check(id);
        return special_[id];
    }
    std::optional<int32_t> id_of(std::string_view token) const override {
        for (const int32_t id : special_ids_)
            if (tokens_[id] == token) return id;
        const auto found = ids_.find(std::string(token));
        return found == ids_.end() ? std::nullopt : std::optional(found->second);
    }
    int32_t vocab_size() const override {
        return static_cast<int32_t>(tokens_.size());
    }
    std::optional<int32_t> bos() const override {
        return bos_;
    }
    std::optional<int32_t> eos() const override {
        return eos_;
    }

private:
    struct Merge {
        int32_t rank;
        int32_t merged;
    };
    static uint64_t pair_key(int32_t left, int32_t right) {
        return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
    }

    void check(int32_t id) const {
        if (id < 0 || id >= vocab_size())
            throw UsageError("token id {} is not in this tokenizer's vocabulary of {}", id, vocab_size());
    }

    void add_tokens(const BpeVocabulary& vocabulary) {
        const VisibleAlphabet alphabet;
        special_ = vocabulary.special;
        for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
            const std::string& token = vocabulary.tokens[id];
            if (special_[id]) {
                tokens_.push_back(token);
                if (!token.empty()) special_ids_.push_back(static_cast<int32_t>(id));
                continue;
            }
            auto bytes = alphabet.bytes(token);
            if (!bytes)
                throw FileError("{}: token {} \"{}\" has characters outside the byte-level alphabet", vocabulary.source,
                                id, printable(token));
            if (!bytes->empty() && !ids_.emplace(*bytes, static_cast<int32_t>(id)).second)
                throw FileError("{}: token {} \"{}\" is in the vocabulary twice", vocabulary.source, id,
                                printable(token));
            tokens_.push_back(std::move(*bytes));
        }
        // of two special tokens at one place the longer one is meant
        std::stable_sort(special_ids_.begin(), special_ids_.end(),
                         [&](int32_t a, int32_t b) { return tokens_[a].size() > tokens_[b].size(); });
    }

    void add_merges(const BpeVocabulary& vocabulary) {
        const VisibleAlphabet alphabet;
        merges_.reserve(vocabulary.merges.size());
        for (size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
            const std::string_view merge = vocabulary.merges[rank];
            const size_t gap = merge.find(' ');
            const auto left = alphabet.bytes(merge.substr(0, gap));
            const auto right = gap == merge.npos ? std::nullopt : alphabet.bytes(merge.substr(gap + 1));
            const auto id = [&](const std::string& bytes) {
                const auto found = ids_.find(bytes);
                return found == ids_.end() ? -1 : found->second;
            };
            const int32_t merged = left && right ? id(*left + *right) : -1;
            if (merged < 0 || id(*left) < 0 || id(*right) < 0)
                throw FileError("{}: merge {} \"{}\" is not of two tokens that make a third", vocabulary.source, rank,
                                printable(merge));
            merges_.emplace(pair_key(id(*left), id(*right)), Merge{static_cast<int32_t>(rank), merged});
        }
    }

    int32_t special_at(std::string_view text) const {
        for (const int32_t id : special_ids_)
            if (text.starts_with(tokens_[id])) return id;
        return -1;
    }

    void encode_plain(std::string_view text, std::vector<int32_t>& out, int64_t merges = INT64_MAX) const {
        for (const std::string_view piece : split_text(text, split_)) encode_piece(piece, out, merges);
    }

    /// Joins the pair of lowest rank, the leftmost of equals, until no pair can be joined: O(n log n) in the piece, so
    /// that a megabyte of letters without a space costs no more than prose.
    void encode_piece(std::string_view piece, std::vector<int32_t>& out, int64_t merges) const {
        struct Symbol {
            int32_t id;  ///< -1: joined into the one before
            int32_t previous;
            int32_t next;
        };
        std::vector<Symbol> symbols;
        for (const char byte : piece) {
            const int32_t id = byte_ids_[static_cast<unsigned char>(byte)];
            if (id < 0) continue;
            const auto at = static_cast<int32_t>(symbols.size());
            symbols.push_back({id, at - 1, at + 1});
        }
        const auto count = static_cast<int32_t>(symbols.size());
        using Candidate = std::tuple<int32_t, int32_t, int32_t, int32_t>;  // rank, position, left id, right id
        std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
        const auto offer = [&](int32_t at) {
            if (at < 0 || symbols[at].next >= count) return;
            const int32_t left = symbols[at].id;
            const int32_t right = symbols[symbols[at].next].id;
            if (const auto found = merges_.find(pair_key(left, right));
                found != merges_.end() && found->second.rank < merges)
                queue.emplace(found->second.rank, at, left, right);
        };
        for (int32_t at = 0; at < count; ++at) offer(at);
        while (!queue.empty()) {
            const auto [rank, at, left, right] = queue.top();
            queue.pop();
            const int32_t next = symbols[at].next;
            if (symbols[at].id != left || next >= count || symbols[next].id != right) continue;  // joined meanwhile
            symbols[at].id = merges_.at(pair_key(left, right)).merged;
            symbols[at].next = symbols[next].next;
            symbols[next].id = -1;
            if (symbols[at].next < count) symbols[symbols[at].next].previous = at;
            offer(symbols[at].previous);
            offer(at);
        }
        for (const Symbol& symbol : symbols)
            if (symbol.id >= 0) out.push_back(symbol.id);
    }

    Split split_;
    std::optional<int32_t> bos_;
    std::optional<int32_t> eos_;
    std::vector<std::string> tokens_;  ///< bytes; a special token's name
    std::vector<bool> special_;
    std::vector<int32_t> special_ids_;  ///< longest first
    std::unordered_map<std::string, int32_t> ids_;
    std::unordered_map<uint64_t, Merge> merges_;
    std::array<int32_t, 256> byte_ids_;
};

}  // namespace

std::string visible_byte(unsigned char byte) {
    return VisibleAlphabet().character(byte);
}

std::unique_ptr<Tokenizer> make_bpe_tokenizer(const BpeVocabulary& vocabulary) {
    return std::make_unique<BpeTokenizer>(vocabulary);
}

}  // namespace wavllm
