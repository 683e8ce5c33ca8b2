#include "models/fingerprint.h"

#include "models/whisper/encoder.h"

namespace wavllm {

namespace {

class WhisperFingerprint : public Fingerprint {
public:
    using Fingerprint::add;
    void add(const WhisperLinear& l) {
        add(l.weight);
        add(l.bias);
    }
    void add(const WhisperNorm& n) {
        numbers(n.eps);
        add(n.weight);
        add(n.bias);
    }
};

}  // namespace

std::string WhisperEncoder::fingerprint() const {
    WhisperFingerprint f;
    f.numbers(config_.dim, config_.encoder_layers, config_.heads, config_.encoder_ffn, config_.mels,
              config_.max_source_positions, static_cast<float>(config_.norm_eps));
    f.add(conv1_);
    f.add(conv1_bias_);
    f.add(conv2_);
    f.add(conv2_bias_);
    f.add(positions_);
    for (const Block& b : blocks_) {
        f.add(b.attention_norm);
        f.add(b.qkv);
        f.add(b.out);
        f.add(b.ffn_norm);
        f.add(b.ffn.up);
        f.add(b.ffn.down);
    }
    f.add(norm_);
    return f.hex();
}

}  // namespace wavllm
