#include "models/whisper/config.h"

#include "tensor/error.h"

namespace wavllm {

namespace {

int64_t dimension(const Checkpoint& c, const char* tensor, size_t i, size_t rank) {
    const StoredTensor& t = c.at(tensor);
    if (t.shape.size() != rank)
        throw FileError("{}: tensor \"{}\" has {} dimensions, but in a Whisper it has {}", c.path().string(), tensor,
                        t.shape.size(), rank);
    return t.shape[i];
}

/// What a CTranslate2 file must say, where it says it: the variants that would compute something else.
void check_settings(const Checkpoint& c, const nlohmann::json& settings, int64_t heads) {
    constexpr int64_t kGelu = 3;  // exact GELU among CTranslate2's activations
    const std::pair<const char*, int64_t> expected[] = {{"decoder/num_heads", heads},
                                                        {"decoder/pre_norm", 1},
                                                        {"decoder/activation", kGelu},
                                                        {"decoder/alibi", 0},
                                                        {"decoder/scale_embeddings", 0}};
    for (const auto& [key, value] : expected)
        if (const auto it = settings.find(key); it != settings.end() && *it != value)
            throw FileError("{}: its setting {} is {}, but only {} is supported", c.path().string(), key, it->dump(),
                            value);
}

WhisperConfig from_ctranslate2(const Checkpoint& c) {
    const auto spec = c.metadata().value("spec", "");
    if (spec != "WhisperSpec")
        throw FileError("{}: a CTranslate2 model of spec \"{}\", but expected is \"WhisperSpec\"", c.path().string(),
                        spec);
    const nlohmann::json& settings = c.metadata().at("settings");
    if (!settings.contains("encoder/num_heads"))
        throw FileError("{}: it has no setting encoder/num_heads; convert it again with CTranslate2 3.0 or later",
                        c.path().string());
    const auto layers = [&](const char* side) {
        int64_t n = 0;
        while (c.find(fmt::format("{}/layer_{}/ffn/linear_0/weight", side, n))) ++n;
        return n;
    };
    WhisperConfig k;
    k.heads = settings["encoder/num_heads"].get<int64_t>();
    check_settings(c, settings, k.heads);
    k.dim = dimension(c, "encoder/conv1/weight", 0, 3);
    k.mels = dimension(c, "encoder/conv1/weight", 1, 3);
    k.max_source_positions = dimension(c, "encoder/position_encodings/encodings", 0, 2);
    k.encoder_layers = layers("encoder");
    k.encoder_ffn = dimension(c, "encoder/layer_0/ffn/linear_0/weight", 0, 2);
    k.decoder_layers = layers("decoder");
    k.decoder_ffn = dimension(c, "decoder/layer_0/ffn/linear_0/weight", 0, 2);
    k.max_target_positions = dimension(c, "decoder/position_encodings/encodings", 0, 2);
    k.vocab = dimension(c, "decoder/embeddings/weight", 0, 2);
    return k;
}

WhisperConfig from_hugging_face(const Checkpoint& c) {
    const auto it = c.metadata().find("config");
    if (it == c.metadata().end())
        throw FileError("{}: no config.json beside the weights; give the folder that holds both", c.path().string());
    const nlohmann::json& m = *it;
    const auto number = [&](const char* key) {
        const auto value = m.find(key);
        if (value == m.end() || !value->is_number_integer())
            throw FileError("{}: config.json has no whole number \"{}\"; is it a Whisper?", c.path().string(), key);
        return value->get<int64_t>();
    };
    WhisperConfig k;
    k.dim = number("d_model");
    k.encoder_layers = number("encoder_layers");
    k.decoder_layers = number("decoder_layers");
    k.heads = number("encoder_attention_heads");
    if (number("decoder_attention_heads") != k.heads)
        throw FileError("{}: {} heads in the encoder, {} in the decoder; only equal numbers are supported",
                        c.path().string(), k.heads, number("decoder_attention_heads"));
    k.encoder_ffn = number("encoder_ffn_dim");
    k.decoder_ffn = number("decoder_ffn_dim");
    k.mels = number("num_mel_bins");
    k.max_source_positions = number("max_source_positions");
    k.max_target_positions = number("max_target_positions");
    k.vocab = number("vocab_size");
    return k;
}

}  // namespace

void WhisperConfig::check() const {
    const auto in_range = [](const char* name, int64_t v, int64_t least) {
        if (v < least || v > int64_t{1} << 24) throw UsageError("whisper: {} = {} is out of range", name, v);
    };
    in_range("dim", dim, 1);
    in_range("encoder_layers", encoder_layers, 1);
    in_range("decoder_layers", decoder_layers, 0);
    in_range("heads", heads, 1);
    in_range("encoder_ffn", encoder_ffn, 1);
    in_range("mels", mels, 1);
    in_range("max_source_positions", max_source_positions, 1);
    if (decoder_layers > 0) {
        in_range("decoder_ffn", decoder_ffn, 1);
        in_range("max_target_positions", max_target_positions, 1);
        in_range("vocab", vocab, 1);
    }
    if (dim % heads != 0) throw UsageError("whisper: dim {} does not divide into {} heads", dim, heads);
}

WhisperConfig whisper_config(const Checkpoint& checkpoint) {
    WhisperConfig config =
        checkpoint.format() == "ctranslate2" ? from_ctranslate2(checkpoint) : from_hugging_face(checkpoint);
    config.check();
    return config;
}

}  // namespace wavllm
