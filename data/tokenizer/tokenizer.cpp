#include "data/tokenizer/tokenizer.h"

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

std::vector<int32_t> Tokenizer::encode_pieces(std::string_view, int64_t) const {
    throw UsageError("this tokenizer has no merges to leave out: set ctc.merges to 0");
}

std::vector<int32_t> Tokenizer::pieces(int64_t) const {
    throw UsageError("this tokenizer has no merges to leave out: set ctc.merges to 0");
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool keep_special) const {
    StreamDecoder decoder(*this, keep_special);
    std::string text;
    for (const int32_t id : ids) text += decoder.push(id);
    return text + decoder.finish();
}

std::string StreamDecoder::push(int32_t id) {
    std::string bytes = tokenizer_->token_bytes(id);
    if (tokenizer_->is_special(id)) {
        // a special token ends whatever character the tokens before it left open
        std::string text = take_complete(true);
        return keep_special_ ? text + bytes : text;
    }
    if (!started_ && rules_.drop_first_space && bytes.starts_with(' ')) bytes.erase(0, 1);
    started_ = true;
    pending_ += bytes;
    return take_complete(false);
}

std::string StreamDecoder::finish() {
    return take_complete(true);
}

std::string StreamDecoder::take_complete(bool at_end) {
    std::string text;
    std::string_view rest = pending_;
    while (!rest.empty()) {
        size_t length = utf8_length(rest);
        if (length > 0) {
            text += rest.substr(0, length);
        } else {
            length = utf8_broken_length(rest);
            if (!at_end && utf8_may_continue(rest)) break;
            const size_t marks = rules_.replace_each_byte ? length : 1;
            for (size_t i = 0; i < marks; ++i) text += "\xEF\xBF\xBD";
        }
        rest.remove_prefix(length);
    }
    pending_ = std::string(rest);
    return text;
}

}  // namespace wavllm
