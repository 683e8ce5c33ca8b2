#pragma once
// How likely it is that the transcript of a clip begins with a given text, by its CTC head alone: what joint decoding
// adds to the LLM's opinion (Watanabe et al. 2017, "Hybrid CTC/Attention Architecture", section IV-B, algorithm 2).

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace wavllm {

class CtcPrefix {
public:
    /// log_probs: [T, 1 + C] f32, log softmax of each row: the blank, then C tokens. Throws ShapeError otherwise.
    explicit CtcPrefix(Tensor log_probs);

    /// A text, as its tokens' columns (0 to C - 1) gave it.
    struct Text {
        std::vector<double> in_token,
            in_blank;       ///< [T] log p(rows 0..t say this text, the last of them a token; a blank)
        int32_t last = -1;  ///< column; -1: the empty text
        double begins = 0;  ///< log p(the transcript begins with this text)
    };
    Text empty() const;
    Text extended(const Text& text, int32_t column) const;
    /// log p(the transcript is this text).
    double ends(const Text& text) const;
    int64_t columns() const {
        return log_probs_.dim(1) - 1;
    }

private:
    double at(int64_t row, int32_t column) const {
        return static_cast<double>(log_probs_.data<float>()[row * log_probs_.dim(1) + 1 + column]);
    }

    Tensor log_probs_;
};

}  // namespace wavllm
