#include "data/tokenizer/sentencepiece_model.h"

#include <cmath>
#include <cstring>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

// Numbers of fields and values in sentencepiece_model.proto.
enum ModelField : uint64_t { kPieces = 1, kTrainer = 2, kNormalizer = 3 };
enum PieceField : uint64_t { kPiece = 1, kScore = 2, kType = 3 };
enum TrainerField : uint64_t {
    kModelType = 3,
    kVocabSize = 4,
    kWhitespaceAsSuffix = 24,
    kByteFallback = 35,
    kUnkId = 40,
    kBosId = 41,
    kEosId = 42,
    kPadId = 43,
    kUnkPiece = 45,
    kBosPiece = 46,
    kEosPiece = 47,
    kPadPiece = 48
};
enum NormalizerField : uint64_t { kName = 1, kCharsMap = 2, kDummyPrefix = 3, kExtraWhitespaces = 4 };
constexpr uint64_t kBpe = 2;
constexpr int32_t kNormalType = 1, kByteType = 6;

/// A field of a protocol buffer: a varint, four or eight bytes, or a text.
struct Field {
    uint64_t number = 0, value = 0;
    std::string_view text;
};

/// The fields of a message one after another; every length is compared with what is left.
class Message {
public:
    Message(const std::string& source, std::string_view bytes) : source_(source), rest_(bytes) {}

    bool next(Field& field) {
        if (rest_.empty()) return false;
        const uint64_t tag = varint();
        field = {.number = tag >> 3};
        switch (tag & 7) {
            case 0: field.value = varint(); return true;
            case 1: field.text = take(8); return true;
            case 2: field.text = take(varint()); return true;
            case 5:
                field.text = take(4);
                field.value = 0;
                std::memcpy(&field.value, field.text.data(), 4);  // little-endian
                return true;
            default: fail();
        }
    }

private:
    [[noreturn]] void fail() const {
        throw FileError("{}: not a SentencePiece model: its protocol buffer is damaged", source_);
    }
    std::string_view take(uint64_t length) {
        if (length > rest_.size()) fail();
        const std::string_view part = rest_.substr(0, length);
        rest_.remove_prefix(length);
        return part;
    }
    uint64_t varint() {
        uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            const auto byte = static_cast<uint8_t>(take(1)[0]);
            value |= static_cast<uint64_t>(byte & 0x7F) << shift;
            if (byte < 0x80) return value;
        }
        fail();
    }

    const std::string& source_;
    std::string_view rest_;
};

void parse_piece(SentencePieceModel& model, std::string_view bytes) {
    std::string piece;
    float score = 0;
    int32_t type = kNormalType;
    Message message(model.source, bytes);
    for (Field f; message.next(f);) {
        if (f.number == kPiece) piece = f.text;
        if (f.number == kScore) {
            const auto bits = static_cast<uint32_t>(f.value);
            std::memcpy(&score, &bits, sizeof score);
        }
        if (f.number == kType) type = static_cast<int32_t>(std::min<uint64_t>(f.value, INT32_MAX));
    }
    model.pieces.push_back(std::move(piece));
    model.scores.push_back(score);
    model.types.push_back(type);
}

void parse_trainer(SentencePieceModel& model, std::string_view bytes) {
    Message message(model.source, bytes);
    for (Field f; message.next(f);) {
        if (f.number == kModelType) model.bpe = f.value == kBpe;
        if (f.number == kWhitespaceAsSuffix) model.whitespace_as_suffix = f.value != 0;
        if (f.number == kByteFallback) model.byte_fallback = f.value != 0;
        if (f.number == kUnkPiece) model.unk = f.text;
        if (f.number == kBosPiece) model.bos = f.text;
        if (f.number == kEosPiece) model.eos = f.text;
        if (f.number == kPadPiece) model.pad = f.text;
    }
}

void parse_normalizer(SentencePieceModel& model, std::string_view bytes) {
    Message message(model.source, bytes);
    for (Field f; message.next(f);) {
        if (f.number == kCharsMap) model.normalises = !f.text.empty();
        if (f.number == kDummyPrefix) model.add_dummy_prefix = f.value != 0;
        if (f.number == kExtraWhitespaces) model.remove_extra_whitespaces = f.value != 0;
    }
}

void put_varint(std::string& to, uint64_t value) {
    for (; value >= 0x80; value >>= 7) to += static_cast<char>(value | 0x80);
    to += static_cast<char>(value);
}
void put_number(std::string& to, uint64_t field, uint64_t value) {
    put_varint(to, field << 3);
    put_varint(to, value);
}
void put_text(std::string& to, uint64_t field, std::string_view text) {
    put_varint(to, field << 3 | 2);
    put_varint(to, text.size());
    to += text;
}
void put_float(std::string& to, uint64_t field, float value) {
    put_varint(to, field << 3 | 5);
    char raw[4];
    std::memcpy(raw, &value, 4);
    to.append(raw, 4);
}

void check(const SentencePieceModel& m) {
    const size_t n = m.pieces.size();
    if (m.scores.size() != n || m.types.size() != n)
        throw FileError("{}: its vocabulary has {} pieces, {} scores and {} types", m.source, n, m.scores.size(),
                        m.types.size());
    for (size_t i = 0; i < n; ++i)
        if (!std::isfinite(m.scores[i]) || m.types[i] < kNormalType || m.types[i] > kByteType)
            throw FileError("{}: token {} \"{}\" has the score {} and the type {}, but types are {} to {}", m.source, i,
                            printable(m.pieces[i]), m.scores[i], m.types[i], kNormalType, kByteType);
    if (m.normalises)
        throw FileError("{}: its tokenizer normalises Unicode, by a table that cannot be written", m.source);
}

}  // namespace

int32_t SentencePieceModel::id_of(std::string_view piece) const {
    for (size_t i = 0; i < pieces.size(); ++i)
        if (pieces[i] == piece) return static_cast<int32_t>(i);
    return -1;
}

SentencePieceModel parse_sentencepiece_model(const std::string& source, std::string_view bytes) {
    SentencePieceModel model{.source = source};
    Message message(model.source, bytes);
    for (Field f; message.next(f);) {
        if (f.number == kPieces) parse_piece(model, f.text);
        if (f.number == kTrainer) parse_trainer(model, f.text);
        if (f.number == kNormalizer) parse_normalizer(model, f.text);
    }
    if (model.pieces.empty()) throw FileError("{}: not a SentencePiece model: it has no pieces", source);
    return model;
}

std::string sentencepiece_model_bytes(const SentencePieceModel& m) {
    check(m);
    std::string all;
    for (size_t i = 0; i < m.pieces.size(); ++i) {
        std::string piece;
        put_text(piece, kPiece, m.pieces[i]);
        put_float(piece, kScore, m.scores[i]);
        put_number(piece, kType, static_cast<uint64_t>(m.types[i]));
        put_text(all, kPieces, piece);
    }
    std::string trainer;
    put_number(trainer, kModelType, m.bpe ? kBpe : 1);
    put_number(trainer, kVocabSize, m.pieces.size());
    put_number(trainer, kWhitespaceAsSuffix, m.whitespace_as_suffix ? 1 : 0);
    put_number(trainer, kByteFallback, m.byte_fallback ? 1 : 0);
    for (const auto& [id, field, piece] :
         {std::tuple(kUnkId, kUnkPiece, &m.unk), std::tuple(kBosId, kBosPiece, &m.bos),
          std::tuple(kEosId, kEosPiece, &m.eos), std::tuple(kPadId, kPadPiece, &m.pad)}) {
        put_number(trainer, id, static_cast<uint64_t>(int64_t{m.id_of(*piece)}));  // -1: ten bytes
        put_text(trainer, field, *piece);
    }
    put_text(all, kTrainer, trainer);
    std::string normalizer;
    put_text(normalizer, kName, "identity");
    put_number(normalizer, kDummyPrefix, m.add_dummy_prefix ? 1 : 0);
    put_number(normalizer, kExtraWhitespaces, m.remove_extra_whitespaces ? 1 : 0);
    put_text(all, kNormalizer, normalizer);
    return all;
}

}  // namespace wavllm
