#include "models/wavllm/system.h"

#include "autograd/tape.h"
#include "data/audio.h"
#include "kernels/cast/cast.h"
#include "kernels/common/check.h"
#include "kernels/log_mel/log_mel.h"
#include "models/parameter_survey.h"
#include "models/wavlm/waveform.h"
#include "tensor/model_dtype.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

/// Without output_norm, which needs more than configurations.
BridgeConfig bridge_config(const Preset& p, int64_t encoder_dim, const WavlmConfig* wavlm, int64_t llm_dim) {
    BridgeConfig config;
    config.llm_dim = llm_dim;
    config.semantic = {encoder_dim,
                       p.adapter.mid,
                       p.adapter.dim,
                       p.adapter.bottleneck,
                       p.adapter.out > 0 ? p.adapter.out : config.llm_dim,
                       p.adapter.taps};
    if (wavlm != nullptr) {
        config.acoustic = config.semantic;
        config.acoustic->in = wavlm->dim;
        config.acoustic->mid = p.adapter.acoustic_mid;
        config.acoustic_layers = wavlm->layers + 1;
    }
    const auto& c = p.connector;
    if (c.kind == "qformer")
        config.qformer = QFormerConfig{.in = encoder_dim,
                                       .acoustic_in = wavlm != nullptr ? wavlm->dim : 0,
                                       .window = c.window,
                                       .queries = c.queries,
                                       .dim = c.dim,
                                       .heads = c.heads,
                                       .ffn = c.ffn,
                                       .layers = c.layers,
                                       .out = config.llm_dim};
    else if (c.kind == "pooled")
        config.pooled = PooledConfig{.in = encoder_dim, .frames = c.pool, .out = config.llm_dim};
    return config;
}

LoraConfig lora_config(const Preset& p) {
    return {p.lora.rank, p.lora.alpha, p.lora.dropout, lora_targets(p.lora.targets)};
}

PromptAdapterConfig prompt_adapter_config(const Preset& p, int64_t llm_dim) {
    return {.dim = llm_dim,
            .hidden = p.prompt_adapter.hidden,
            .start = p.lora.alpha / static_cast<double>(p.lora.rank),
            .clamp = p.prompt_adapter.clamp};
}

/// WavLM's hidden states of each clip, [layers, T2, C2] bf16.
std::vector<Tensor> hear(const WavlmEncoder& wavlm, std::span<const std::span<const float>> clips) {
    std::vector<float> samples;
    std::vector<int64_t> lengths;
    for (const std::span<const float> clip : clips) {
        const auto n = static_cast<int64_t>(clip.size());
        if (wavlm.config().frames(n) < 1)
            throw UsageError("a clip of {} samples is too short: WavLM needs {} ({:g} ms)", n, wavlm.config().window(),
                             1000.0 * static_cast<double>(wavlm.config().window()) / kSampleRate);
        samples.insert(samples.end(), clip.begin(), clip.end());
        if (wavlm.config().normalizes()) normalize_waveform(std::span(samples).last(clip.size()));
        lengths.push_back(n);
    }
    const auto total = static_cast<int64_t>(samples.size());
    const Tensor borders = kernels::make_borders(lengths);
    const Tensor hidden = wavlm.forward(Tensor::from(samples, {total}), borders), frames = wavlm.frame_borders(borders);
    const int64_t *at = frames.data<int64_t>(), layers = hidden.dim(0), dim = hidden.dim(2);
    std::vector<Tensor> result;
    PurposeScope scope(Purpose::data);
    for (size_t i = 0; i < clips.size(); ++i) {
        Tensor own = Tensor::empty({layers, at[i + 1] - at[i], dim}, DType::bf16);
        for (int64_t l = 0; l < layers; ++l)
            own.select(0, l).assign(
                kernels::cast(hidden.select(0, l).slice(0, at[i], at[i + 1]), DType::bf16).to(Device::cpu));
        result.push_back(std::move(own));
    }
    return result;
}

}  // namespace

System build_system(const Preset& preset, std::shared_ptr<const WhisperEncoder> encoder,
                    std::shared_ptr<const Llama> llama, std::shared_ptr<const Tokenizer> tokenizer,
                    std::shared_ptr<const WavlmEncoder> wavlm) {
    if (preset.model.wavlm.empty() != (wavlm == nullptr))
        throw UsageError("build_system: model.wavlm is \"{}\", but {} WavLM was given", preset.model.wavlm,
                         wavlm ? "a" : "no");
    System s{.preset = preset,
             .encoder = std::move(encoder),
             .wavlm = std::move(wavlm),
             .llama = std::move(llama),
             .tokenizer = std::move(tokenizer)};
    {
        PurposeScope scope(Purpose::weights);
        s.mel_filters = model_input(kernels::make_mel_filters(s.encoder->config().mels, model_dtype()));
    }
    const auto seed = static_cast<uint64_t>(preset.train.seed);
    const int64_t llm_dim = s.llama->config().dim;
    PromptAdapter prompt_adapter;
    if (preset.prompt_adapter.hidden > 0) prompt_adapter = PromptAdapter(prompt_adapter_config(preset, llm_dim), seed);
    CtcHead ctc;
    if (preset.has_ctc()) {
        CtcHeadConfig config{.drop_blanks = preset.ctc.drop_blanks,
                             .blank_margin = preset.ctc.blank_margin,
                             .drop_repeats = preset.ctc.drop_repeats,
                             .merges = preset.ctc.merges};
        if (preset.ctc.draft)
            config.draft = [tokenizer = s.tokenizer](std::span<const int32_t> pieces) {
                return tokenizer->encode(tokenizer->decode(pieces));
            };
        if (preset.ctc.merges > 0) config.tokens = s.tokenizer->pieces(preset.ctc.merges);
        ctc = CtcHead(llm_dim, seed, std::move(config));
    }
    BridgeConfig bridge =
        bridge_config(preset, s.encoder->config().dim, s.wavlm ? &s.wavlm->config() : nullptr, llm_dim);
    bridge.output_norm = preset.adapter.output_norm ? s.llama->embedding_rms() : 0;
    s.model = std::make_unique<Wavllm>(s.llama, SpeechBridge(bridge, seed),
                                       Lora(lora_config(preset), s.llama->config().layers, s.llama->lora_dims(), seed),
                                       std::move(ctc), std::move(prompt_adapter));
    return s;
}

void survey_parameters(const Preset& preset, const BaseConfigs& base,
                       const std::function<void(const std::string& name, const Shape& shape)>& visit) {
    const ParameterSurvey survey(visit);
    const int64_t llm_dim = base.llama.dim;
    SpeechBridge(bridge_config(preset, base.whisper.dim, base.wavlm ? &*base.wavlm : nullptr, llm_dim), 0);
    Lora(lora_config(preset), base.llama.layers, base.llama.lora_dims(), 0);
    if (preset.has_ctc()) CtcHead(llm_dim, 0);
    if (preset.prompt_adapter.hidden > 0) PromptAdapter(prompt_adapter_config(preset, llm_dim), 0);
}

std::vector<EncodedClip> encode_clips(const System& system, std::span<const std::span<const float>> clips) {
    return encode_clips(system, clips, whisper_padding(system.preset.model.encoder_padding));
}

std::vector<EncodedClip> encode_clips(const System& system, std::span<const std::span<const float>> clips,
                                      WhisperPadding padding) {
    NoGrad no_grad;
    const WhisperFeatures f = whisper_features(clips, system.mel_filters, padding);
    const Tensor encoded = system.encoder->forward(f.mel, f.borders);
    const KeptFrames kept = keep_frames(encoded, system.encoder->frame_borders(f.borders), f.kept);
    const int64_t *chunks = f.clip_borders.data<int64_t>(), *rows = kept.borders.data<int64_t>();
    std::vector<EncodedClip> result;
    PurposeScope scope(Purpose::data);
    for (size_t i = 0; i < clips.size(); ++i) {
        EncodedClip clip;
        const Tensor own = kept.rows.slice(0, rows[chunks[i]], rows[chunks[i + 1]]);
        clip.features = kernels::cast(own, DType::bf16).to(Device::cpu);
        clip.samples = static_cast<int64_t>(clips[i].size());
        for (int64_t c = chunks[i]; c < chunks[i + 1]; ++c) clip.chunk_rows.push_back(rows[c + 1] - rows[c]);
        result.push_back(std::move(clip));
    }
    if (!system.wavlm) return result;
    std::vector<Tensor> heard = hear(*system.wavlm, clips);
    for (size_t i = 0; i < clips.size(); ++i) result[i].acoustic = std::move(heard[i]);
    return result;
}

SpeechExample text_example(const System& system, const std::string& id, bool with_speech, const std::string& prompt,
                           std::optional<std::string_view> target) {
    SpeechExample e;
    e.id = id;
    e.reference = target.value_or("");
    const ChatTemplate chat = chat_template_of(system.preset.model.chat_template);
    e.ids = prompt_ids(*system.tokenizer, make_prompt(chat, prompt, with_speech), target);
    if (system.preset.prompt_adapter.hidden > 0) e.ids.instruction = prompt_adapter_ids(*system.tokenizer, prompt);
    if (!target) return e;
    // A space in front: the first word sounds like any other, so it should be the same tokens.
    const std::string spoken = " " + std::string(*target);
    const int64_t merges = system.preset.ctc.merges;
    e.transcript = merges > 0 ? system.tokenizer->encode_pieces(spoken, merges) : system.tokenizer->encode(spoken);
    return e;
}

SpeechExample make_example(const System& system, const std::string& id, std::span<const float> samples,
                           const std::string& prompt, std::optional<std::string_view> target) {
    SpeechExample e = text_example(system, id, !samples.empty(), prompt, target);
    e.seconds = static_cast<double>(samples.size()) / kSampleRate;
    if (samples.empty()) return e;
    EncodedClip clip;
    try {
        clip = std::move(encode_clips(system, std::span(&samples, 1)).front());
    } catch (const UsageError& problem) {  // too short for WavLM
        if (id.empty()) throw;
        throw UsageError("{}: {}", printable(id), problem.what());
    }
    e.features = std::move(clip.features);
    e.acoustic = std::move(clip.acoustic);
    e.chunk_rows = std::move(clip.chunk_rows);
    return e;
}

}  // namespace wavllm
