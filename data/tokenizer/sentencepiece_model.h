#pragma once
// What a SentencePiece model file (tokenizer.model) holds, taken apart and put together again: GGUF stores the same as
// arrays. The file is a protocol buffer, sentencepiece_model.proto.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/tokenizer.h"

namespace wavllm {

struct SentencePieceModel {
    std::string source;  ///< the file, for errors
    std::vector<std::string> pieces;
    std::vector<float> scores;
    std::vector<int32_t> types;  ///< 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
    bool bpe = false;            ///< else unigram, words or characters
    bool byte_fallback = false;  ///< what no piece spells is spelt in bytes
    bool add_dummy_prefix = true, remove_extra_whitespaces = true, whitespace_as_suffix = false;
    bool normalises = false;  ///< Unicode is normalised before pieces are looked for
    /// Names of the pieces with a meaning of their own; a name that no piece has means that there is none.
    std::string unk = "<unk>", bos = "<s>", eos = "</s>", pad = "<pad>";

    /// The id of a piece, or -1.
    int32_t id_of(std::string_view piece) const;
};

/// Takes the file's bytes apart. Throws FileError if they are no such model.
SentencePieceModel parse_sentencepiece_model(const std::string& source, std::string_view bytes);

/// The bytes of such a file. Throws FileError for what contradicts itself: lists of different lengths, a type or a score
/// that cannot be, a model that normalises (its table is not kept here).
std::string sentencepiece_model_bytes(const SentencePieceModel& model);

/// The bytes of a model file. Throws FileError as open_sentencepiece (sentencepiece.h) does.
std::string read_sentencepiece_file(const std::filesystem::path& path);
/// The tokenizer of these parts. Throws FileError where they make none.
std::unique_ptr<Tokenizer> make_sentencepiece(const SentencePieceModel& model);

}  // namespace wavllm
