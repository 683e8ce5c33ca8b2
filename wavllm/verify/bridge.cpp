// Modality adapters, projectors and the joint projection: from the stored encoder outputs and from our own encoder's.

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
    return all.to(model_device());
}

/// A clip's chunks as Whisper heard them, each alone, and WavLM's hidden states of the whole clip.
Tensor whole_bridge(Tiny& t, const Sample& s, const Wavllm& model, const Tensor& encoded, const Tensor& hidden,
                    const std::string& how) {
    const std::string file = s.file("audio");
    const int64_t chunks = encoded.dim(0), frames = encoded.dim(1);
    const Observer observer = [&](const std::string& name, const Tensor& value) {
        Tensor v = value;
        if (name.starts_with("whisper.")) v = value.reshape({chunks, value.dim(0) / chunks, value.dim(1)});
        t.c.computed(file, name, v, how);
        if (name == "wavlm.weighted_sum")
            t.c.computed(file, name + "_every_25th_frame",
                         every_nth(value.transpose(0, 1).to_contiguous(), kFrameStep).transpose(0, 1).to_contiguous());
    };
    Tensor borders = equal_borders(chunks, frames);
    return model.bridge().forward(encoded.reshape({chunks * frames, encoded.dim(2)}), borders, hidden,
                                  equal_borders(1, hidden.dim(1)), &observer, equal_borders(1, chunks));
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
        t.speech[s.name] = whole_bridge(t, s, model, encoded->second, hidden->second, "our encoder outputs");
    }
}

}  // namespace wavllm::verify
