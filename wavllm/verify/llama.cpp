// LLaMA against Hugging Face's (grouped KV heads, tied and untied output), and both namings of the same weights.

#include "autograd/tape.h"
#include "infer/generate.h"
#include "wavllm/verify/beams.h"
#include "wavllm/verify/golden_folder.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

namespace {

Tensor i32_of(const Tensor& ids) {
    std::vector<int32_t> v;
    for (double id : ids.values()) v.push_back(static_cast<int32_t>(id));
    return Tensor::from(v, {static_cast<int64_t>(v.size())});
}

LlamaPass pass_over(const Tensor& borders, const Observer* observer = nullptr) {
    LlamaPass pass;
    pass.borders = borders;
    pass.positions = LlamaPass::positions_for(borders);
    pass.observer = observer;
    return pass;
}

Llama load_alone(const std::filesystem::path& path, const LlamaConfig& config) {
    const auto checkpoint = open_checkpoint(path);
    const Weights weights(*checkpoint);
    Llama llama = Llama::load(weights, config);
    weights.finish();
    return llama;
}

void check_hugging_face(Tiny& t, const std::string& which) {
    const std::string file = which + ".safetensors";
    if (!t.c.wanted(file) && !t.c.wanted("case.json")) return;
    const nlohmann::json& k = t.description.at("hf_configs").at("hf_llama");
    LlamaConfig config;
    config.dim = k.at("hidden_size");
    config.layers = k.at("num_hidden_layers");
    config.heads = k.at("num_attention_heads");
    config.kv_heads = k.at("num_key_value_heads");
    config.ffn = k.at("intermediate_size");
    config.vocab = k.at("vocab_size");
    config.norm_eps = k.at("rms_norm_eps");
    config.rope_theta = k.at("rope_theta");
    config.max_positions = k.at("max_position_embeddings");
    config.rope_layout = RopeLayout::half_split;
    const Llama llama = load_alone(t.folder / (which + "_weights.safetensors"), config);

    const Tensor& ids = t.golden(file, "ids");
    const int64_t rows = ids.dim(0), length = ids.dim(1);
    const auto as_stored = [&](const Tensor& x) { return x.reshape({rows, length, x.dim(1)}); };
    const Observer observer = [&](const std::string& name, const Tensor& value) {
        for (int64_t i = 0; i + 1 < config.layers; ++i)
            if (name == fmt::format("layer{}", i)) t.c.computed(file, fmt::format("hidden{}", i + 1), as_stored(value));
    };
    const Tensor x = llama.embed(i32_of(ids));
    t.c.computed(file, "hidden0", as_stored(x));
    const Tensor h = llama.forward(x, pass_over(equal_borders(rows, length), &observer));
    t.c.computed(file, fmt::format("hidden{}", config.layers), as_stored(llama.final_norm(h)));
    t.c.computed(file, "logits", as_stored(llama.logits(h)));

    GenerateOptions options;
    options.max_new_tokens = 16;
    options.eos = k.at("eos_token_id");
    const auto generated =
        generate_greedy(llama, x.slice(0, 0, length).to_contiguous(), equal_borders(1, length), options);
    t.c.computed("case.json", which + ".greedy_16_after_ids_row_0", ids_tensor(generated[0].tokens));

    BeamOptions beams;
    beams.max_new_tokens = options.max_new_tokens;
    beams.eos = options.eos;
    const auto found = beam_search(llama, x.slice(0, 0, length).to_contiguous(), equal_borders(1, length), beams)[0];
    t.c.computed("case.json", which + ".beam4_16_after_ids_row_0", hypotheses_tensor(found));
    t.c.computed(file, "beam4_scores", scores_tensor(found));
}

void check_namings(Tiny& t) {
    const std::string file = "llama_namings.safetensors";
    if (!t.c.wanted(file)) return;
    const nlohmann::json& k = t.description.at("hf_configs").at("llama_namings");
    LlamaConfig config;
    config.dim = k.at("dim");
    config.layers = k.at("layers");
    config.heads = config.kv_heads = k.at("heads");
    config.ffn = k.at("ffn");
    config.vocab = k.at("vocab");
    config.norm_eps = k.at("norm_eps");
    config.rope_theta = k.at("rope_theta");
    const Tensor ids = i32_of(t.golden(file, "ids"));
    const LlamaPass pass = pass_over(equal_borders(1, ids.numel()));
    for (const auto& [naming, layout, how] :
         {std::tuple("llama_meta_naming_weights.safetensors", RopeLayout::interleaved, "Meta's names, interleaved"),
          std::tuple("llama_hf_naming_weights.safetensors", RopeLayout::half_split, "Hugging Face's, half split")}) {
        config.rope_layout = layout;
        const Llama llama = load_alone(t.folder / naming, config);
        t.c.computed(file, "logits", llama.logits(llama.forward(llama.embed(ids), pass)), how);
    }
}

}  // namespace

void check_llama(Tiny& t) {
    NoGrad no_grad;
    check_hugging_face(t, "hf_llama_tied");
    check_hugging_face(t, "hf_llama_untied");
    check_namings(t);
}

}  // namespace wavllm::verify
