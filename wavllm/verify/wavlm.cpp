// WavLM: relative positions, the tiny WavLLM's acoustic encoder on the three clips, and a whole small WavLM of Hugging
// Face from both ways to store its weight norm.

#include "autograd/tape.h"
#include "data/audio.h"
#include "models/wavlm/encoder.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

namespace {

constexpr int64_t kFrameStep = 25;  // *_every_25th_frame
constexpr const char* kDistanceTable = "wavlm_encoder.model.encoder.layers.0.attention.rel_attn_embed.weight";

void check_buckets(Tiny& t, const WavlmConfig& config) {
    const std::string file = "tables.safetensors", name = "relative_position_buckets";
    if (!t.c.has(file, name)) return;
    const int64_t n = t.golden(file, name).numel();  // distances -n/2 ... n/2
    Tensor buckets = Tensor::empty({n}, DType::i64);
    for (int64_t i = 0; i < n; ++i)
        buckets.mutable_data<int64_t>()[i] = relative_position_bucket(i - n / 2, config.buckets, config.max_distance);
    t.c.computed(file, name, buckets);
}

/// [heads, T, T], which the model itself never has whole.
Tensor position_bias(const Tiny& t, const WavlmConfig& config, int64_t frames) {
    const Tensor table =
        Weights(t.model.checkpoint()).f32(kDistanceTable, {config.buckets, config.heads}).to(Device::cpu);
    Tensor bias = Tensor::empty({config.heads, frames, frames});
    float* p = bias.mutable_data<float>();
    for (int64_t h = 0; h < config.heads; ++h)
        for (int64_t query = 0; query < frames; ++query)
            for (int64_t key = 0; key < frames; ++key)
                *p++ = table.data<float>()[relative_position_bucket(key - query, config.buckets, config.max_distance) *
                                               config.heads +
                                           h];
    return bias;
}

/// The first columns of the transpose: golden layers are [channels, frames].
Tensor channels_first(const Tensor& t, int64_t frames) {
    return t.slice(0, 0, frames).transpose(0, 1).to_contiguous();
}

void check_clip(Tiny& t, const Sample& s, const WavlmEncoder& encoder) {
    const std::string file = s.file("audio");
    const std::vector<float> samples = read_audio((t.folder / ("audio_" + s.name + ".wav")).string());
    const auto n = static_cast<int64_t>(samples.size());
    const Observer observer = [&](const std::string& name, const Tensor& value) {
        const std::string full = "wavlm." + name;
        if (name == "conv1" && is_wavlm_layer(t, file))
            t.c.computed(file, "whisper.conv1", channels_first(value, t.golden(file, "whisper.conv1").dim(1)));
        if (name == "features") {
            const Tensor all = channels_first(value, value.dim(0));
            t.c.computed(file, full + "_every_25th_frame", every_nth(all, kFrameStep).transpose(0, 1).to_contiguous());
        }
        if (!t.c.has(file, full)) return;
        if (name.starts_with("conv"))
            t.c.computed(file, full, channels_first(value, t.golden(file, full).dim(1)));
        else if (name == "gate_projection")
            t.c.computed(file, full, value.transpose(0, 1).to_contiguous());
        else
            t.c.computed(file, full, value);
    };
    const Tensor waveform = Tensor::from(samples, {n}), borders = equal_borders(1, n);
    // Observed, the convolutions run over the whole clip at once; else over a few seconds at a time.
    const Tensor hidden = encoder.forward(waveform, borders, &observer), in_chunks = encoder.forward(waveform, borders);
    for (int64_t i = 0; i < hidden.dim(0); ++i)
        t.c.computed(file, fmt::format("wavlm.hidden{}", i), in_chunks.select(0, i), "in chunks");
    if (t.c.has(file, "wavlm.position_bias"))
        t.c.computed(file, "wavlm.position_bias", position_bias(t, encoder.config(), hidden.dim(1)));
    t.hidden[s.name] = in_chunks;
}

void check_hugging_face(Tiny& t) {
    const std::string file = "hf_wavlm.safetensors";
    const WavlmConfig config = wavlm_config(t.description.at("hf_configs").at("hf_wavlm"), "case.json");
    const Tensor& waveform = t.golden(file, "waveform");
    for (const char* naming : {"g_v", "parametrized"}) {
        const auto checkpoint = open_checkpoint(t.folder / fmt::format("hf_wavlm_weights_{}.safetensors", naming));
        const Observer observer = [&](const std::string& name, const Tensor& value) {
            t.c.computed(file, name == "normed_features" ? "extract_features" : name, value, naming);
        };
        const Weights frozen(*checkpoint), trainable(*checkpoint);
        WavlmEncoder::load(frozen, config).forward(waveform, equal_borders(1, waveform.numel()), &observer);
        frozen.finish();
        const WavlmEncoder other = WavlmEncoder::load_trainable(trainable, config);
        trainable.finish();
        const Tensor all = other.forward(waveform, equal_borders(1, waveform.numel()));
        for (int64_t i = 0; i < all.dim(0); ++i)
            t.c.computed(file, fmt::format("hidden{}", i), all.select(0, i), fmt::format("{}, trainable", naming));
    }
}

}  // namespace

void check_wavlm(Tiny& t) {
    NoGrad no_grad;
    const WavlmEncoder encoder = t.model.released().wavlm();
    if (t.c.wanted("tables")) check_buckets(t, encoder.config());
    if (t.c.wanted("hf_wavlm")) check_hugging_face(t);
    if (!t.c.wanted("audio_") && !t.c.wanted("llama_") && !t.c.wanted("decode_") && !t.c.wanted("case.json")) return;
    for (const Sample& s : t.samples) check_clip(t, s, encoder);
}

}  // namespace wavllm::verify
