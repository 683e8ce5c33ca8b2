#pragma once
// One modality adapter of WavLLM (paper, section 3.1 and figure 1): subsampling convolutions, bottleneck, projector.

#include "models/observer.h"
#include "models/parameter.h"
#include "models/weights.h"

namespace wavllm {

struct AdapterConfig {
    int64_t in = 512;    ///< encoder features
    int64_t mid = 1024;  ///< channels of the first convolution, before its GLU halves them
    int64_t dim = 512;   ///< after the second convolution and GLU
    int64_t bottleneck = 256;
    int64_t out = 576;  ///< projector
    int64_t taps = 3;   ///< of both convolutions, odd: 3 in the paper; more let a row hear more of its neighbourhood
};

/// Subsample: twice { Conv1d of `taps` taps, s2, pad taps/2 (k3 pad1 in the paper), GLU over channels }, so T -> (T-1)/2 + 1 each time (80 ms a frame after
/// Whisper). Bottleneck: y = LayerNorm(U gelu(D x)) + x. Then a linear projector.
class SpeechAdapter {
public:
    SpeechAdapter() = default;
    /// New parameters, drawn as torch draws those of Conv1d and Linear: uniform in +-1/sqrt(fan in); LayerNorm at
    /// identity.
    SpeechAdapter(const AdapterConfig& config, const std::string& prefix, uint64_t seed);
    /// From "subsample.conv_layers.{0,1}", "adapter.{down_layer,up_layer,layer_norm}", "projector" below `weights`.
    static SpeechAdapter load(const Weights& weights, const AdapterConfig& config, const std::string& prefix);

    /// x: [T, in] with sequence borders; gives [T'', out] and sets `borders` to those of the result.
    Tensor forward(const Tensor& x, Tensor& borders, const Observer* observer = nullptr) const;
    void append_parameters(Parameters& to) const;
    /// Rows that come out for t rows in.
    static int64_t frames(int64_t t) {
        return ((t - 1) / 2 + 1 - 1) / 2 + 1;
    }

private:
    struct Part {
        Tensor weight, bias;
    };
    template <class Make>
    void make(const AdapterConfig& config, const std::string& prefix, Make&& parameter);

    int64_t taps_ = 3;
    Part conv0_, conv1_, down_, up_, norm_, projector_;
};

}  // namespace wavllm
