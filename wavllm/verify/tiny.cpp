#include "wavllm/verify/tiny.h"

#include "autograd/ops/weighted_sum.h"
#include "data/json.h"
#include "kernels/common/check.h"

namespace wavllm::verify {

namespace {

using nlohmann::json;
constexpr const char* kLlama = "gpt_model.model_llama.";

LlamaConfig llama_config_of(const json& sizes) {
    const json& s = sizes.at("llama");
    LlamaConfig c;
    c.dim = s.at("dim");
    c.layers = s.at("layers");
    c.heads = c.kv_heads = s.at("heads");
    c.ffn = s.at("ffn");
    c.vocab = s.at("vocab");
    c.norm_eps = s.at("norm_eps");
    c.rope_layout = RopeLayout::interleaved;
    return c;
}

BridgeConfig bridge_config_of(const json& sizes) {
    AdapterConfig semantic{.in = sizes.at("whisper").at("dim"),
                           .mid = sizes.at("whisper_subsample_mid"),
                           .dim = sizes.at("adapter_dim"),
                           .bottleneck = sizes.at("adapter_bottleneck"),
                           .out = sizes.at("projector_dim")};
    AdapterConfig acoustic = semantic;
    acoustic.in = sizes.at("wavlm").at("dim");
    acoustic.mid = sizes.at("wavlm_subsample_mid");
    BridgeConfig c{.semantic = semantic, .acoustic = acoustic};
    c.acoustic_layers = sizes.at("wavlm").at("layers").get<int64_t>() + 1;  // the input of the first, too
    c.llm_dim = sizes.at("llama").at("dim");
    return c;
}

}  // namespace

TinyModel::TinyModel(const std::filesystem::path& folder, const json& sizes)
    : checkpoint_(open_checkpoint(folder / "model.safetensors")), bridge_(bridge_config_of(sizes)) {
    lora_.rank = sizes.at("lora_rank");
    lora_.alpha = sizes.at("lora_alpha");
    prompt_adapter_ = {.dim = sizes.at("llama").at("dim"), .hidden = sizes.at("prompt_adapter_bottleneck"), .clamp = 3};
    const Weights weights(*checkpoint_);
    const Weights llama = weights.under(kLlama);
    llama_ = std::make_shared<const Llama>(Llama::load(llama, llama_config_of(sizes)));
    Lora::load(llama, lora_, llama_->config().layers, llama_->lora_dims());
    SpeechBridge::load(weights, bridge_);
    PromptAdapter::load(llama, prompt_adapter_);
    // The encoders load their own. audio_proj is for a model without WavLM.
    for (const char* elsewhere : {"audio_encoder.model.", "wavlm_encoder.model.", "audio_proj."})
        weights.ignore(elsewhere);
    weights.finish();
}

Wavllm TinyModel::fresh(int stage) const {
    const Weights weights(*checkpoint_), llama = weights.under(kLlama);
    return Wavllm(llama_, SpeechBridge::load(weights, bridge_),
                  Lora::load(llama, lora_, llama_->config().layers, llama_->lora_dims()), {},
                  stage == 1 ? PromptAdapter() : PromptAdapter::load(llama, prompt_adapter_));
}

SpeechAdapter TinyModel::semantic_adapter() const {
    return SpeechAdapter::load(Weights(*checkpoint_), bridge_.semantic, "audio_encoder.");
}

Tensor TinyModel::acoustic_embeddings(const Tensor& hidden, const Observer& observer) const {
    const Weights weights(*checkpoint_);
    const Tensor mixed = weighted_sum(hidden, weights.f32("wavlm_encoder.output_weights", {bridge_.acoustic_layers}));
    observe(&observer, "weighted_sum", mixed);
    Tensor borders = equal_borders(1, mixed.dim(0));
    return SpeechAdapter::load(weights, *bridge_.acoustic, "wavlm_encoder.").forward(mixed, borders, &observer);
}

Tiny::Tiny(Comparison& comparison, std::filesystem::path golden, std::filesystem::path data_folder, json case_json)
    : c(comparison),
      folder(std::move(golden)),
      data(std::move(data_folder)),
      description(std::move(case_json)),
      tokens(read_json_file(folder / "tokens.json")),
      model(folder, description.at("config")) {
    const auto ids = [](const json& j) { return j.get<std::vector<int32_t>>(); };
    for (const auto& [name, fact] : description.at("facts").at("samples").items()) {
        const json& rows = tokens.at("rows");
        size_t row = 0;
        while (row < rows.size() && rows[row].at("prompt") != fact.at("prompt")) ++row;
        if (row == rows.size())
            throw FileError("{}: no row has the prompt of sample {}", (folder / "tokens.json").string(), name);
        samples.push_back({name,
                           row,
                           {ids(tokens.at("left")), ids(rows[row].at("right")), ids(rows[row].at("target_ids")),
                            ids(rows[row].at("prompt_adapter"))},
                           fact.at("speech_tokens"),
                           fact.at("chunks"),
                           fact.at("whisper_frames_kept")});
    }
}

Tensor equal_borders(int64_t sequences, int64_t rows) {
    const std::vector<int64_t> lengths(static_cast<size_t>(sequences), rows);
    return kernels::make_borders(lengths);
}

Tensor rows_of(const Tensor& t, const Tensor& borders, int64_t i) {
    const int64_t* b = borders.data<int64_t>();
    return t.slice(0, b[i], b[i + 1]).to_contiguous();
}

Tensor every_nth(const Tensor& t, int64_t step) {
    const int64_t n = (t.shape().last() + step - 1) / step;
    const std::vector<double> all = t.values();
    std::vector<double> some;
    for (int64_t r = 0; r < t.rows(); ++r)
        for (int64_t i = 0; i < n; ++i) some.push_back(all[static_cast<size_t>(r * t.shape().last() + i * step)]);
    return Tensor::from(some, t.shape().with(t.rank() - 1, n)).to(t.dtype());
}

}  // namespace wavllm::verify
