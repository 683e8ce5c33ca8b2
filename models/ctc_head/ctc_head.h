#pragma once
// A CTC head (Graves et al. 2006) over the LLM's own token embeddings: a row of speech says a token if it points where
// the token's frozen embedding points. It is an addition to WavLLM's recipe: trained before the LLM joins in, it leads
// the adapter's output into the space the LLM reads, without a run through the LLM; and it is a cheap decoder.

#include "autograd/ops/ctc_loss.h"
#include "models/llama/llama.h"
#include "models/parameter.h"

namespace wavllm {

/// What CTC aligns in one batch: the transcripts of its clips, in classes of this step.
struct CtcTargets {
    Tensor classes;         ///< i32 [C]: the token of each class
    Tensor borders;         ///< i64 [S+1]: rows of speech embeddings of each clip
    Tensor targets;         ///< i32 [N]: classes of the transcripts' tokens
    Tensor target_borders;  ///< i64 [S+1]

    bool defined() const {
        return classes.defined();
    }
};

struct CtcHeadConfig {
    /// Rows that the head takes for blanks are kept from the LLM (CTC compression, Gaido et al. 2021; before a
    /// decoder-only LLM: Wu et al. 2023): what it reads is then about as long as the transcript, and the sequence a
    /// third as long.
    bool drop_blanks = false;
    double blank_margin = 2;  ///< a row stays if some token's logit is above the blank's less this
};

class CtcHead {
public:
    CtcHead() = default;
    /// dim: of the LLM's embeddings. The blank's direction is drawn from the seed.
    CtcHead(int64_t dim, uint64_t seed, const CtcHeadConfig& config = {});
    const CtcHeadConfig& config() const {
        return config_;
    }

    bool defined() const {
        return blank_.defined();
    }
    /// Loss of speech embeddings [T, dim]; token logits are scale * cosine(row, embedding), the blank's is
    /// scale * cosine(row, blank) + bias, with a learned scale, bias and blank.
    CtcLoss loss(const Tensor& speech, const CtcTargets& targets, const Llama& llama, double normalizer) const;
    /// The likeliest token of every row [T] over all tokens of the LLM, kBlank where that is the blank, whose logit is
    /// first lowered by `margin`.
    std::vector<int32_t> best_path(const Tensor& speech, const Llama& llama, double margin = 0) const;
    static constexpr int32_t kBlank = -1;
    Parameters parameters() const;

private:
    struct Queries {
        Tensor rows;   // unit vectors times scale
        Tensor blank;  // [T, 1]
    };
    Queries queries(const Tensor& speech) const;

    CtcHeadConfig config_;
    Tensor blank_;  // [1, dim]
    Tensor scale_;  // [1], times kScale
    Tensor bias_;   // [1]
    Tensor unit_;   // [dim] constant 1 / sqrt(dim): with it an RMS norm makes unit vectors
};

}  // namespace wavllm
