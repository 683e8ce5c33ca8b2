#include "models/known_sizes.h"

#include <map>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

template <class Config>
const Config& find(const std::map<std::string, Config>& known, const std::string& name, const char* what) {
    const auto it = known.find(name);
    if (it != known.end()) return it->second;
    std::vector<std::string> names;
    for (const auto& [n, config] : known) names.push_back(n);
    throw UsageError("random weights: the sizes of {} \"{}\" are not known; known are: {}", what, printable(name),
                     fmt::join(names, ", "));
}

WhisperConfig whisper(int64_t dim, int64_t layers, int64_t heads) {
    return {.dim = dim, .encoder_layers = layers, .heads = heads, .encoder_ffn = 4 * dim};
}

/// Weight and bias of a linear layer or a convolution.
int64_t affine(int64_t in, int64_t out) {
    return in * out + out;
}

}  // namespace

LlamaConfig known_llama(const std::string& name) {
    static const std::map<std::string, LlamaConfig> known{
        {"llama-2-7b-chat",
         {.dim = 4096, .layers = 32, .heads = 32, .kv_heads = 32, .ffn = 11008, .vocab = 32000, .max_positions = 4096}},
        {"llama-micro", {.dim = 256, .layers = 6, .heads = 4, .kv_heads = 4, .ffn = 704, .vocab = 320}},
        {"tinyllama-1.1b", {.dim = 2048, .layers = 22, .heads = 32, .kv_heads = 4, .ffn = 5632, .vocab = 32000}},
        {"smollm2-135m",
         {.dim = 576, .layers = 30, .heads = 9, .kv_heads = 3, .ffn = 1536, .vocab = 49152, .rope_theta = 100000}},
    };
    return find(known, name, "language model");
}

WavlmConfig known_wavlm(const std::string& name) {
    WavlmConfig micro;
    micro.dim = 128;
    micro.layers = micro.heads = 4;
    micro.ffn = 512;
    micro.conv_dim.assign(micro.conv_dim.size(), 64);
    micro.position_kernel = 64;
    static const std::map<std::string, WavlmConfig> known{
        {"wavlm-micro", micro}, {"wavlm-base", WavlmConfig()}, {"wavlm-large", WavlmConfig::large()}};
    return find(known, name, "acoustic encoder");
}

WhisperConfig known_whisper_encoder(const std::string& name) {
    static const std::map<std::string, WhisperConfig> known{
        {"whisper-micro", whisper(128, 4, 4)},     {"whisper-tiny", whisper(384, 4, 6)},
        {"whisper-base", whisper(512, 6, 8)},      {"whisper-small", whisper(768, 12, 12)},
        {"whisper-medium", whisper(1024, 24, 16)}, {"whisper-large-v2", whisper(1280, 32, 20)},
    };
    return find(known, name, "speech encoder");
}

int64_t parameters_of(const LlamaConfig& c, bool tied) {
    const int64_t kv = c.kv_heads * c.head_dim();
    const int64_t layer = 2 * c.dim * c.dim + 2 * kv * c.dim + 3 * c.ffn * c.dim + 2 * c.dim;
    return (tied ? 1 : 2) * c.vocab * c.dim + c.dim + c.layers * layer;
}

int64_t parameters_of_encoder(const WhisperConfig& c) {
    const int64_t d = c.dim;
    const int64_t attention = 4 * affine(d, d) - d;  // keys have no bias
    const int64_t layer = attention + affine(d, c.encoder_ffn) + affine(c.encoder_ffn, d) + 4 * d;
    return affine(3 * c.mels, d) + affine(3 * d, d) + c.max_source_positions * d + c.encoder_layers * layer + 2 * d;
}

int64_t parameters_of_encoder(const WavlmConfig& c) {
    const int64_t d = c.dim;
    int64_t convolutions = 0, in = 1;
    for (size_t i = 0; i < c.conv_dim.size(); ++i) {
        const int64_t out = c.conv_dim[i];
        convolutions += in * out * c.conv_kernel[i] + (c.conv_bias ? out : 0);
        if (i == 0 || c.conv_layer_norm) convolutions += 2 * out;
        in = out;
    }
    const int64_t projection = 2 * in + affine(in, d) + d;  // norm, linear, the masked frame
    // weight norm's two parts, bias
    const int64_t positions = c.position_kernel + d * (d / c.position_groups) * c.position_kernel + d;
    const int64_t layer =
        4 * affine(d, d) + affine(d, c.ffn) + affine(c.ffn, d) + 4 * d + c.heads + affine(c.head_dim(), 8);
    return convolutions + projection + positions + 2 * d + c.layers * layer + c.buckets * c.heads;
}

}  // namespace wavllm
