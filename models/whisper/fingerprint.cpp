#include "models/sha256.h"
#include "models/whisper/encoder.h"

namespace wavllm {

namespace {

class Fingerprint {
public:
    template <class... T>
    void numbers(T... values) {
        std::string text;
        ((text += fmt::format("{} ", values)), ...);
        digest_.update(std::as_bytes(std::span(text)));
    }
    void add(const Tensor& t) {
        numbers(t.shape().str(), name(t.dtype()));
        bytes(t);
    }
    void add(const PackedWeight& w) {
        numbers(w.out_features(), w.in_features(), name(w.dtype()));
        bytes(w.stored());
    }
    void add(const PackedConv& w) {
        numbers(w.taps);
        add(w.weight);
    }
    void add(const WhisperLinear& l) {
        add(l.weight);
        add(l.bias);
    }
    void add(const WhisperNorm& n) {
        numbers(n.eps);
        add(n.weight);
        add(n.bias);
    }
    std::string hex() {
        return digest_.hex();
    }

private:
    void bytes(const Tensor& t) {
        const Tensor here = t.to(Device::cpu);
        digest_.update({static_cast<const std::byte*>(here.raw()), here.bytes()});
    }

    Sha256 digest_;
};

}  // namespace

std::string WhisperEncoder::fingerprint() const {
    Fingerprint f;
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
