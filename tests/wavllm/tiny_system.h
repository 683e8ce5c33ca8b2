#pragma once
// A System with the tiny Whisper of golden/ and no language model: enough to encode, tokenise and cache.

#include <cmath>

#include "data/audio.h"
#include "kernels/log_mel/log_mel.h"
#include "models/wavllm/load_examples.h"
#include "models/whisper/whisper.h"
#include "tests/support/shared.h"
#include "tests/support/temp_folder.h"
#include "tests/whisper/tiny.h"

namespace wavllm::tests {

/// Has every special token, as token 5; text becomes one token a byte.
class ByteTokenizer final : public Tokenizer {
public:
    std::vector<int32_t> encode(std::string_view text, bool) const override {
        return {text.begin(), text.end()};
    }
    std::string token_bytes(int32_t id) const override {
        return {static_cast<char>(id)};
    }
    bool is_special(int32_t id) const override {
        return id == 5;
    }
    std::optional<int32_t> id_of(std::string_view) const override {
        return 5;
    }
    int32_t vocab_size() const override {
        return 256;
    }
    std::optional<int32_t> bos() const override {
        return 5;
    }
    std::optional<int32_t> eos() const override {
        return 5;
    }
};

/// Clips of up to 1.4 s: the encoder hears 2.4 s, 1 s of which is padding.
inline System tiny_system(const std::filesystem::path& weights = shared("golden/hf_whisper_weights.safetensors"),
                          DType panels = DType::f32) {
    System s;
    s.preset.model.encoder_padding = "tight";
    s.encoder = std::make_shared<const WhisperEncoder>(
        Whisper::load_encoder(*open_checkpoint(weights), golden_hf_whisper_config(), panels));
    s.tokenizer = std::make_shared<const ByteTokenizer>();
    s.mel_filters = kernels::make_mel_filters(80);
    return s;
}

/// `n` clips of 0.3 to 1.3 s, each a chirp of its own, and their manifest.
inline std::filesystem::path chirps(const TempFolder& folder, int n) {
    std::string text = "id\taudio\tprompt\ttgt_text\twith_speech\tspeaker\ttask\n";
    for (int i = 0; i < n; ++i) {
        std::vector<float> samples(static_cast<size_t>(4800 + 16007 * i / n));
        for (size_t j = 0; j < samples.size(); ++j) {
            const double t = static_cast<double>(j) / kSampleRate;
            samples[j] = static_cast<float>(0.3 * std::sin(2000 * t * (1 + t) + 300.0 * i * t));
        }
        write_wav16(folder / fmt::format("clip{}.wav", i), samples);
        text += fmt::format("c{}\tclip{}.wav\tWhat is it?\tchirp {}\ttrue\tbird{}\tasr\n", i, i, i, i % 3);
    }
    return folder.write("chirps.tsv", text);
}

inline std::vector<SpeechExample> load(const System& system, const std::filesystem::path& manifest,
                                       const FeatureCache* cache, EncodeSummary* summary = nullptr) {
    return load_examples(system, std::span(&manifest, 1), cache, {}, summary);
}

inline std::vector<float> features_of(const SpeechExample& e) {
    std::vector<float> x(static_cast<size_t>(e.feature_rows() * e.feature_channels()));
    e.copy_features(x.data());
    return x;
}

/// Whether two sets have the same features to the bit, and the same of all that a batch is made of.
inline bool same(std::span<const SpeechExample> a, std::span<const SpeechExample> b) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); ++i)
        if (features_of(a[i]) != features_of(b[i]) || a[i].chunk_rows != b[i].chunk_rows ||
            a[i].seconds != b[i].seconds || a[i].key != b[i].key || a[i].id != b[i].id)
            return false;
    return true;
}

}  // namespace wavllm::tests
