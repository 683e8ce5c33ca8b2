#include "models/wavllm/released_system.h"

#include "data/json.h"
#include "kernels/log_mel/log_mel.h"
#include "tensor/model_dtype.h"

namespace wavllm {

namespace {

int64_t heads_of(const char* part, const char* key, int64_t given, int64_t dim, int64_t usual) {
    const int64_t heads = given > 0 ? given : dim / usual;
    if (heads > 0 && dim % heads == 0 && (given > 0 || dim % usual == 0)) return heads;
    throw UsageError(
        "released checkpoint: its {} is {} wide, which {} heads{} do not divide: how many has it? Say "
        "\"{}\" in a config.json beside the file",
        part, dim, given > 0 ? fmt::to_string(given) : std::string("published"),
        given > 0 ? std::string() : fmt::format(" of {}", usual), key);
}

AdapterConfig adapter_config(const ReleasedSizes::Adapter& a) {
    return {.in = a.in, .mid = a.mid, .dim = a.dim, .bottleneck = a.bottleneck, .out = a.out};
}

LoraConfig lora_config(const ReleasedSizes& k) {
    return {.rank = k.lora_rank, .alpha = static_cast<double>(k.lora_rank)};
}

}  // namespace

ReleasedHeads heads_beside(const std::filesystem::path& file) {
    const std::filesystem::path config = file.parent_path() / "config.json";
    ReleasedHeads heads;
    if (!std::filesystem::exists(config)) return heads;
    const nlohmann::json json = read_json_file(config, 1 << 20);
    for (const auto& [key, value] : {std::pair("whisper_heads", &heads.whisper), {"llm_heads", &heads.llama}}) {
        if (!json.is_object() || !json.contains(key)) continue;
        if (!json[key].is_number_integer() || json[key].get<int64_t>() < 1)
            throw FileError("{}: \"{}\" must be a positive whole number", config.string(), key);
        *value = json[key].get<int64_t>();
    }
    return heads;
}

int64_t llama_heads(const ReleasedSizes& sizes, const ReleasedHeads& heads) {
    return heads_of("LLaMA", "llm_heads", heads.llama, sizes.dim, 128);
}

Preset released_preset(const ReleasedSizes& k) {
    Preset p;
    p.name = "released";
    p.model.whisper = p.model.wavlm = p.model.llm = "released";
    p.model.chat_template = "llama2";
    p.model.encoder_padding = "30s";
    p.model.norm_eps = 1e-6;
    p.adapter = {.mid = k.semantic.mid,
                 .acoustic_mid = k.acoustic.mid,
                 .dim = k.semantic.dim,
                 .taps = 3,
                 .bottleneck = k.semantic.bottleneck,
                 .out = k.semantic.out,
                 .output_norm = false};
    p.lora.rank = k.lora_rank;
    p.lora.alpha = static_cast<double>(k.lora_rank);
    p.prompt_adapter = {.hidden = k.prompt_bottleneck, .clamp = 3};
    p.data.max_new_tokens = 512;  // the released code's limit
    return p;
}

ReleasedCheckpoint::ReleasedCheckpoint(const Checkpoint& checkpoint, const ReleasedHeads& heads)
    : weights_(checkpoint) {
    const ReleasedReport report = check_released(checkpoint);
    if (!report.whole())
        throw FileError("{}: not a whole released checkpoint: {}", checkpoint.path().string(), report.problems());
    const ReleasedSizes& k = sizes_ = report.sizes;
    const Preset preset = released_preset(k);
    whisper_ = {.dim = k.whisper_dim,
                .encoder_layers = k.whisper_layers,
                .heads = heads_of("Whisper", "whisper_heads", heads.whisper, k.whisper_dim, 64),
                .encoder_ffn = k.whisper_ffn,
                .mels = k.mels,
                .max_source_positions = k.positions};
    wavlm_.dim = k.wavlm_dim;
    wavlm_.layers = k.wavlm_layers;
    wavlm_.heads = k.wavlm_heads;
    wavlm_.ffn = k.wavlm_ffn;
    if (k.convolutions.size() != wavlm_.conv_stride.size())
        throw FileError("{}: its WavLM has {} convolutions, but the released one {}", checkpoint.path().string(),
                        k.convolutions.size(), wavlm_.conv_stride.size());
    for (size_t i = 0; i < k.convolutions.size(); ++i)
        std::tie(wavlm_.conv_dim[i], wavlm_.conv_kernel[i]) = k.convolutions[i];
    wavlm_.position_kernel = k.position_taps;
    wavlm_.position_groups = k.position_groups;
    wavlm_.buckets = k.buckets;
    llama_.dim = k.dim;
    llama_.layers = k.layers;
    llama_.heads = llama_.kv_heads = llama_heads(k, heads);
    llama_.ffn = k.ffn;
    llama_.vocab = k.vocab;
    llama_.max_positions = 4096;
    llama_.norm_eps = preset.model.norm_eps;
}

WhisperEncoder ReleasedCheckpoint::whisper(DType panels) const {
    return WhisperEncoder::load(weights_.under(kReleasedWhisper), whisper_, panels);
}

WavlmEncoder ReleasedCheckpoint::wavlm(DType panels) const {
    return WavlmEncoder::load(weights_.under(kReleasedWavlm), wavlm_, panels);
}

Llama ReleasedCheckpoint::llama(DType panels) const {
    return Llama::load(weights_.under(kReleasedLlama), llama_, panels);
}

Wavllm ReleasedCheckpoint::model(std::shared_ptr<const Llama> llama, bool with_prompt_adapter) const {
    const ReleasedSizes& k = sizes_;
    const Weights below = weights_.under(kReleasedLlama);
    BridgeConfig bridge{.semantic = adapter_config(k.semantic), .acoustic = adapter_config(k.acoustic)};
    bridge.acoustic_layers = k.wavlm_layers + 1;  // the input of the first, too
    bridge.llm_dim = k.dim;
    PromptAdapter prompt_adapter;
    if (with_prompt_adapter && k.prompt_bottleneck > 0)
        prompt_adapter = PromptAdapter::load(below, {.dim = k.dim, .hidden = k.prompt_bottleneck, .clamp = 3});
    const auto dims = llama->lora_dims();
    return {std::move(llama),
            SpeechBridge::load(weights_, bridge),
            Lora::load(below, lora_config(k), k.layers, dims),
            {},
            std::move(prompt_adapter)};
}

System load_released_system(const Checkpoint& checkpoint, std::shared_ptr<const Tokenizer> tokenizer,
                            const ReleasedHeads& heads, DType panels) {
    const ReleasedCheckpoint parts(checkpoint, heads);
    System s{.preset = released_preset(parts.sizes()),
             .encoder = std::make_shared<const WhisperEncoder>(parts.whisper(panels)),
             .wavlm = std::make_shared<const WavlmEncoder>(parts.wavlm(panels)),
             .llama = std::make_shared<const Llama>(parts.llama(panels)),
             .tokenizer = std::move(tokenizer)};
    if (s.tokenizer->vocab_size() > s.llama->config().vocab)
        throw UsageError("{}: its LLaMA has {} tokens, but the tokenizer {}", checkpoint.path().string(),
                         s.llama->config().vocab, s.tokenizer->vocab_size());
    {
        PurposeScope scope(Purpose::weights);
        s.mel_filters = model_input(kernels::make_mel_filters(s.encoder->config().mels, model_dtype()));
    }
    s.model = std::make_unique<Wavllm>(parts.model(s.llama));
    return s;
}

}  // namespace wavllm
