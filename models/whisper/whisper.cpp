#include "models/whisper/whisper.h"

namespace wavllm {

namespace {

/// "encoder/" as CTranslate2 has it, "model.encoder." or "encoder." as Hugging Face does.
Weights side(const Weights& weights, const std::string& name) {
    if (weights.has(name + "/layer_norm/gamma")) return weights.under(name + "/");
    const bool bare = weights.has(name + ".layer_norm.weight");
    return weights.under(bare ? name + "." : "model." + name + ".");
}

}  // namespace

Whisper Whisper::load(const Checkpoint& checkpoint, const WhisperConfig& config, DType panels) {
    const Weights weights(checkpoint);
    Whisper m{WhisperEncoder::load(side(weights, "encoder"), config, panels),
              WhisperDecoder::load(side(weights, "decoder"), config, panels)};
    weights.ignore("proj_out.weight");  // Hugging Face's name for the embedding as output
    weights.finish();
    return m;
}

WhisperEncoder Whisper::load_encoder(const Checkpoint& checkpoint, const WhisperConfig& config, DType panels) {
    const Weights weights(checkpoint);
    WhisperEncoder encoder = WhisperEncoder::load(side(weights, "encoder"), config, panels);
    for (const char* unused : {"decoder/", "decoder.", "model.decoder.", "proj_out.weight"}) weights.ignore(unused);
    weights.finish();
    return encoder;
}

}  // namespace wavllm
