// Modality adapters, projectors and the joint projection: from the stored encoder outputs and from our own encoder's.

#include "autograd/ops/columns.h"
#include "autograd/ops/linear.h"
#include "autograd/tape.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

namespace {

constexpr int64_t kFrameStep = 25;  // *_every_25th_frame

/// The stored hidden states of WavLM, [layers, T, C]; undefined where the golden set leaves them out.
Tensor stored_hidden_states(const Tiny& t, const std::string& file) {
    std::vector<Tensor> layers;
    while (t.c.has(file, fmt::format("wavlm.hidden{}", layers.size())))
        layers.push_back(t.golden(file, fmt::format("wavlm.hidden{}", layers.size())));
    if (layers.empty()) return {};
    Tensor all = Tensor::empty({static_cast<int64_t>(layers.size()), layers[0].dim(0), layers[0].dim(1)});
    for (size_t i = 0; i < layers.size(); ++i) all.select(0, static_cast<int64_t>(i)).assign(layers[i]);
    return model_input(all);
}

/// One chunk, and WavLM's hidden states at hand: the whole bridge.
Tensor whole_bridge(Tiny& t, const Sample& s, const Wavllm& model, const Tensor& encoded, const Tensor& hidden,
                    const std::string& how) {
    const std::string file = s.file("audio");
    const Observer observer = [&](const std::string& name, const Tensor& value) {
        Tensor v = value;
        if (name.starts_with("whisper.")) v = value.reshape({1, value.dim(0), value.dim(1)});
        t.c.computed(file, name, v, how);
    };
    Tensor borders = equal_borders(1, encoded.dim(1));
    return model.bridge().forward(encoded.reshape({encoded.dim(1), encoded.dim(2)}), borders, hidden,
                                  equal_borders(1, hidden.dim(1)), &observer);
}

/// The rows of our own WavLM's acoustic embeddings, and what leads to them.
Tensor acoustic_embeddings(Tiny& t, const Sample& s, const Tensor& hidden) {
    const std::string file = s.file("audio");
    const Observer observer = [&](const std::string& name, const Tensor& value) {
        t.c.computed(file, "wavlm." + name, value, "our hidden states");
        if (name == "weighted_sum")
            t.c.computed(file, "wavlm.weighted_sum_every_25th_frame",
                         every_nth(value.transpose(0, 1).to_contiguous(), kFrameStep).transpose(0, 1).to_contiguous());
    };
    return t.model.acoustic_embeddings(hidden, observer);
}

/// Several chunks: each is adapted alone, their rows are joined over time.
Tensor chunked_bridge(Tiny& t, const Sample& s, const Tensor& encoded, const Tensor& acoustic, const std::string& how) {
    const std::string file = s.file("audio");
    const int64_t chunks = encoded.dim(0), frames = encoded.dim(1);
    const Observer observer = [&](const std::string& name, const Tensor& value) {
        const Shape shape{chunks, value.dim(0) / chunks, value.dim(1)};
        t.c.computed(file, "whisper." + name, value.reshape(shape), how);
    };
    Tensor borders = equal_borders(chunks, frames);
    const Tensor semantic =
        t.model.semantic_adapter().forward(encoded.reshape({chunks * frames, encoded.dim(2)}), borders, &observer);
    const int64_t rows = std::min(semantic.dim(0), acoustic.dim(0));
    const Tensor joint = concat_columns(semantic.slice(0, 0, rows), acoustic.slice(0, 0, rows));
    t.c.computed(file, "joint_input", joint, how);
    const Weights weights(t.model.checkpoint());
    const int64_t dim = t.model.llama()->config().dim;
    Tensor speech = linear(joint, weights.f32("wavlm_audio_proj.weight", {dim, joint.dim(1)}),
                           weights.f32("wavlm_audio_proj.bias", {dim}));
    t.c.computed(file, "speech_embeddings", speech, how);
    return speech;
}

}  // namespace

void check_bridge(Tiny& t) {
    NoGrad no_grad;
    const Wavllm model = t.model.fresh();
    for (const Sample& s : t.samples) {
        const std::string file = s.file("audio");
        const Tensor stored = stored_hidden_states(t, file);
        if (t.c.has(file, "whisper.encoded") && stored.defined())
            whole_bridge(t, s, model, t.given(file, "whisper.encoded"), stored, "stored encoder outputs");
        const auto encoded = t.encoded.find(s.name), hidden = t.hidden.find(s.name);
        if (encoded == t.encoded.end() || hidden == t.hidden.end()) continue;
        const Tensor acoustic = acoustic_embeddings(t, s, hidden->second);
        t.speech[s.name] = s.chunks == 1
                               ? whole_bridge(t, s, model, encoded->second, hidden->second, "our encoder outputs")
                               : chunked_bridge(t, s, encoded->second, acoustic, "our encoder outputs");
    }
}

}  // namespace wavllm::verify
