#include "data/tokenizer/sentencepiece.h"

#include <sentencepiece_processor.h>

#include <fstream>

#include "data/tokenizer/sentencepiece_model.h"
#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

constexpr uint64_t kLargestModel = 64 << 20;

class SentencePieceTokenizer : public Tokenizer {
public:
    SentencePieceTokenizer(std::string path, const std::string& model) : path_(std::move(path)) {
        const auto status = processor_.LoadFromSerializedProto(model);
        if (!status.ok()) throw FileError("{}: not a SentencePiece model: {}", path_, printable(status.ToString()));
    }

    std::vector<int32_t> encode(std::string_view text, bool) const override {
        std::vector<int> ids;
        const std::string valid = valid_utf8(text);
        const auto status = processor_.Encode(valid, &ids);
        if (!status.ok()) throw FileError("{}: cannot tokenize: {}", path_, printable(status.ToString()));
        return {ids.begin(), ids.end()};
    }

    std::string token_bytes(int32_t id) const override {
        check(id);
        const std::string& piece = processor_.IdToPiece(id);
        if (processor_.IsByte(id)) return std::string(1, static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16)));
        if (is_special(id)) return piece;
        std::string out;
        constexpr std::string_view kSpace = "\xE2\x96\x81";  // ▁
        for (size_t at = 0; at < piece.size();) {
            const bool space = std::string_view(piece).substr(at).starts_with(kSpace);
            out += space ? ' ' : piece[at];
            at += space ? kSpace.size() : 1;
        }
        return out;
    }

    bool is_special(int32_t id) const override {
        check(id);
        return processor_.IsControl(id) || processor_.IsUnknown(id);
    }

    std::optional<int32_t> id_of(std::string_view token) const override {
        const int id = processor_.PieceToId(std::string(token));
        // an unknown piece gets the id of <unk>
        if (id < 0 || processor_.IdToPiece(id) != token) return std::nullopt;
        return id;
    }
    int32_t vocab_size() const override {
        return processor_.GetPieceSize();
    }
    std::optional<int32_t> bos() const override {
        return present(processor_.bos_id());
    }
    std::optional<int32_t> eos() const override {
        return present(processor_.eos_id());
    }
    TextRules text_rules() const override {
        return {.drop_first_space = true, .replace_each_byte = true};
    }

private:
    static std::optional<int32_t> present(int id) {
        return id < 0 ? std::nullopt : std::optional<int32_t>(id);
    }
    void check(int32_t id) const {
        if (id < 0 || id >= vocab_size())
            throw UsageError("token id {} is not in the vocabulary of {} ({})", id, vocab_size(), path_);
    }

    std::string path_;
    sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace

std::string read_sentencepiece_file(const std::filesystem::path& path) {
    std::error_code failed;
    const uint64_t size = std::filesystem::file_size(path, failed);
    if (failed) throw FileError("cannot read {}: {}", path.string(), failed.message());
    if (size == 0 || size > kLargestModel)
        throw FileError("{}: a SentencePiece model has 1 to {} bytes, but this file has {}", path.string(),
                        kLargestModel, size);
    std::ifstream in(path, std::ios::binary);
    std::string model(size, '\0');
    if (!in.read(model.data(), static_cast<std::streamsize>(size))) throw FileError("cannot read {}", path.string());
    return model;
}

std::unique_ptr<Tokenizer> open_sentencepiece(const std::filesystem::path& path) {
    return std::make_unique<SentencePieceTokenizer>(path.string(), read_sentencepiece_file(path));
}

std::unique_ptr<Tokenizer> make_sentencepiece(const SentencePieceModel& model) {
    return std::make_unique<SentencePieceTokenizer>(model.source, sentencepiece_model_bytes(model));
}

}  // namespace wavllm
