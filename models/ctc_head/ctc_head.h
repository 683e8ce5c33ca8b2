#pragma once
// A CTC head (Graves et al. 2006) over the LLM's own token embeddings: a row of speech says a token if it points where
// the token's frozen embedding points. It is an addition to WavLLM's recipe: trained before the LLM joins in, it leads
// the adapter's output into the space the LLM reads, without a run through the LLM; and it is a cheap decoder.

#include <functional>
#include <span>

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
    /// Of neighbouring rows that say the same token only the one that says it loudest stays.
    bool drop_repeats = false;
    int64_t merges =
        0;  ///< transcripts are spelt with pieces of so many merges (Tokenizer::encode_pieces); 0: with tokens
    /// Where there is one, the LLM also reads what the head would write down, as text behind the rows of speech (as in
    /// generative error correction, Chen et al. 2023): pieces of a transcript to tokens of the LLM.
    std::function<std::vector<int32_t>(std::span<const int32_t>)> draft{};
    /// The tokens it can say; empty: all of the LLM's.
    std::vector<int32_t> tokens{};

    bool changes_input() const {
        return drop_blanks || draft;
    }
};

class CtcHead {
public:
    CtcHead() = default;
    /// dim: of the LLM's embeddings. The blank's direction is drawn from the seed.
    CtcHead(int64_t dim, uint64_t seed, CtcHeadConfig config = {});
    const CtcHeadConfig& config() const {
        return config_;
    }

    bool defined() const {
        return blank_.defined();
    }
    /// Loss of speech embeddings [T, dim]; token logits are scale * cosine(row, embedding), the blank's is
    /// scale * cosine(row, blank) + bias, with a learned scale, bias and blank.
    CtcLoss loss(const Tensor& speech, const CtcTargets& targets, const Llama& llama, double normalizer) const;
    /// What a row says: its likeliest token of those of config(), kBlank where that is the blank.
    struct Said {
        std::vector<int32_t> tokens;       ///< [T]
        std::vector<float> logits;         ///< [T], of these tokens or of the blank
        std::vector<int32_t> best_tokens;  ///< [T] the likeliest tokens, blanks aside
        std::vector<float> best_logits;    ///< [T], of those
    };
    /// Throws TrainingError where a row is not finite.
    Said best_path(const Tensor& speech, const Llama& llama) const;
    /// log softmax of each row [T, 1 + n]: the blank, then the tokens of config() (or all) in their order.
    Tensor log_probs(const Tensor& speech, const Llama& llama) const;
    /// What the LLM reads of the speech, by config().
    struct ForLlm {
        std::vector<int32_t> rows;                 ///< which rows of speech
        std::vector<int64_t> counts;               ///< how many of them are each clip's
        std::vector<std::vector<int32_t>> drafts;  ///< tokens behind each clip's rows; empty without config().draft
    };
    /// counts: rows of each clip.
    ForLlm for_llm(const Tensor& speech, std::span<const int64_t> counts, const Llama& llama) const;
    static constexpr int32_t kBlank = -1;
    Parameters parameters() const;

private:
    struct Queries {
        Tensor rows;   // unit vectors times scale
        Tensor blank;  // [T, 1]
    };
    Queries queries(const Tensor& speech) const;
    /// f(first, ids, logits [T, ids]) for parts of the tokens, so that the logits of all never exist at once.
    template <class F>
    void each_chunk(const Queries& q, const Llama& llama, F&& f) const;

    CtcHeadConfig config_;
    Tensor blank_;  // [1, dim]
    Tensor scale_;  // [1], times kScale
    Tensor bias_;   // [1]
    Tensor unit_;   // [dim] constant 1 / sqrt(dim): with it an RMS norm makes unit vectors
};

}  // namespace wavllm
