#pragma once
// Qwen-Audio's connector (Chu et al. 2023, "Qwen-Audio: Advancing Universal Audio Understanding via Unified Large-Scale
// Audio-Language Models", section 3.1): pooled encoder frames. One of the systems that the WavLLM paper compares itself with.

#include "models/observer.h"
#include "models/parameter.h"
#include "models/weights.h"

namespace wavllm {

struct PooledConfig {
    int64_t in = 512;    ///< features of the Whisper encoder
    int64_t frames = 2;  ///< averaged to one: 40 ms a token, 25 Hz
    int64_t out = 576;   ///< the LLM's width
};

/// y = W LayerNorm(mean of `frames` frames in a row) + b. A sequence's odd frame at the end is a mean by itself.
/// What differs from Qwen-Audio: there the encoder is trained along, and this comes instead of the encoder's own last
/// LayerNorm; here the encoder is frozen, and its result, which has been through that, is normed again. Its two learned
/// vectors around the audio are the template's "<SPEECH>" and "</SPEECH>" here.
class PooledConnector {
public:
    PooledConnector() = default;
    /// New parameters as torch draws them: uniform in +-1/sqrt(in); LayerNorm at identity.
    PooledConnector(const PooledConfig& config, uint64_t seed);
    /// From "ln_post" and "proj".
    static PooledConnector load(const Weights& weights, const PooledConfig& config);

    /// x: [T, in] with sequence borders; gives [rows, out] and sets `borders` to those of the result. Observed: "pooled",
    /// "projected".
    Tensor forward(const Tensor& x, Tensor& borders, const Observer* observer = nullptr) const;
    void append_parameters(Parameters& to) const;
    /// Rows that come out for t frames in.
    int64_t rows(int64_t t) const;

private:
    template <class Make>
    void make(const PooledConfig& config, Make&& parameter);

    PooledConfig config_;
    Tensor norm_weight_, norm_bias_, weight_, bias_;
};

}  // namespace wavllm
