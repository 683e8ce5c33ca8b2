#pragma once
// SALMONN's connector (Tang et al. 2024, "SALMONN: Towards Generic Hearing Abilities for Large Language Models", section
// 3.1): a window-level Q-Former. One of the systems that the WavLLM paper compares itself with (tables 3, 4 and 10).

#include "models/observer.h"
#include "models/parameter.h"
#include "models/weights.h"

namespace wavllm {

/// The defaults are BERT base's sizes, as in SALMONN.
struct QFormerConfig {
    int64_t in = 512;         ///< features of the Whisper encoder
    int64_t acoustic_in = 0;  ///< of a second encoder (SALMONN: BEATs; here WavLM takes its place); 0: there is none
    int64_t window = 17;      ///< frames: a third of a second
    int64_t queries = 1;      ///< learned queries, and so tokens, for each window
    int64_t dim = 768, heads = 12, ffn = 3072, layers = 2;
    int64_t out = 576;  ///< the LLM's width
};

/// Each encoder's features go through a LayerNorm of their own, are put side by side and cut in windows (windows.h). In
/// every window the queries, which begin as h = LayerNorm(query), read its frames x through post-LN layers (Devlin et al.
/// 2019; Li et al. 2023, "BLIP-2"):
///     h = LayerNorm(h + O self_attention(h))      among the queries of one window
///     h = LayerNorm(h + O attention(h, x))        on the frames of that window
///     h = LayerNorm(h + W2 gelu(W1 h))
/// A linear layer to the LLM's width follows. 30 s are 88 tokens. A clip's bits depend on that clip alone.
/// Not in here, as parameters that could have no effect and no gradient: the biases of the keys, which a softmax does not
/// see, and with one query the self-attention's q and k, since a softmax over one key is 1. There is no dropout.
class QFormer {
public:
    QFormer() = default;
    /// New parameters as BERT and torch draw them: matrices and queries normal with deviation 0.02, biases 0, LayerNorm at
    /// identity, the last layer uniform in +-1/sqrt(dim). Throws ShapeError if the heads do not divide dim.
    QFormer(const QFormerConfig& config, uint64_t seed);
    /// The names are those of SALMONN's checkpoints: ln_speech, ln_audio, speech_query_tokens, speech_Qformer.bert.*,
    /// speech_llama_proj. What this class does not have (above) may be there and is not read.
    static QFormer load(const Weights& weights, const QFormerConfig& config);

    /// semantic: [T, in] with sequence borders; acoustic: [T2, acoustic_in] with its own, or undefined. Returns
    /// [windows * queries, out] and sets `borders` to those of the result. Observed: "frames", "layerN", "projected".
    /// Throws ShapeError if acoustic is missing or not wanted.
    Tensor forward(const Tensor& semantic, Tensor& borders, const Tensor& acoustic = {},
                   const Tensor& acoustic_borders = {}, const Observer* observer = nullptr) const;
    void append_parameters(Parameters& to) const;
    /// Rows that come out for t frames in.
    int64_t rows(int64_t t) const;

private:
    struct Part {
        Tensor weight, bias;
    };
    struct Attention {
        Part q, k, v, output, norm;  // k has no bias
    };
    struct Layer {
        Attention self, cross;
        Part up, down, norm;
    };
    template <class Make>
    void make(const QFormerConfig& config, Make&& parameter);
    Tensor layer(const Layer& l, const Tensor& h, const Tensor& frames, const Tensor& query_borders,
                 const Tensor& frame_borders) const;
    Tensor start(int64_t windows) const;

    QFormerConfig config_;
    Part speech_norm_, audio_norm_, query_norm_, projection_;
    Tensor queries_;  // [queries, dim]
    std::vector<Layer> layers_;
};

}  // namespace wavllm
