// Stage-1 training on sample a: gradients of the mean loss, parameters after one step of Adam, losses over five. The
// encoders' outputs are the stored ones.

#include <cmath>

#include "autograd/tape.h"
#include "kernels/adam/adam.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

namespace {

/// LoRA's parameters carry the names below the LLaMA's prefix.
std::string released_name(const std::string& name) {
    return name.starts_with("layers.") ? "gpt_model.model_llama." + name : name;
}

SpeechBatch batch_of(const Tiny& t, const Sample& s) {
    const std::string file = s.file("audio");
    SpeechBatch b;
    const Tensor& encoded = t.golden(file, "whisper.encoded");
    b.features = encoded.reshape({encoded.dim(1), encoded.dim(2)});
    b.feature_borders = equal_borders(1, encoded.dim(1));
    std::vector<float> hidden;
    int64_t layers = 0, frames = 0, width = 0;
    for (std::string name; t.c.has(file, name = fmt::format("wavlm.hidden{}", layers)); ++layers) {
        const Tensor& h = t.golden(file, name);
        frames = h.dim(0);
        width = h.dim(1);
        hidden.insert(hidden.end(), h.data<float>(), h.data<float>() + h.numel());
    }
    b.acoustic = Tensor::from(hidden, {layers, frames, width});
    b.acoustic_borders = equal_borders(1, frames);
    b.plan = plan_sequences(std::span(&s.ids, 1), std::span(&s.speech_rows, 1), std::vector<int64_t>{0});
    return b;
}

/// Where the true gradient is next to nothing, Adam turns rounding noise into a step: what stands there is not compared
/// (notes.zero_gradients of case.json).
std::vector<bool> well_determined(const Tensor& gradient) {
    double largest = 0;
    for (double g : gradient.values()) largest = std::max(largest, std::abs(g));
    std::vector<bool> result;
    for (double g : gradient.values()) result.push_back(std::abs(g) > std::max(1e-6, 1e-3 * largest));
    return result;
}

}  // namespace

void check_training(Tiny& t) {
    const std::string file = "train_stage1.safetensors";
    if (!t.c.wanted(file)) return;
    const nlohmann::json& k = t.description.at("adam");
    const AdamConfig adam{.beta1 = k.at("betas").at(0), .beta2 = k.at("betas").at(1), .eps = k.at("eps")};
    const auto rate = k.at("lr").get<double>();
    const auto steps = k.at("steps").get<int64_t>();

    const Wavllm model = t.model.fresh();
    const SpeechBatch batch = batch_of(t, t.samples.front());
    Parameters parameters = model.parameters();
    std::vector<Tensor> m, v;
    for (const Parameter& p : parameters) {
        for (auto* moments : {&m, &v})
            moments->push_back(Tensor::zeros(p.tensor.shape(), p.tensor.dtype(), p.tensor.device()));
    }
    std::vector<double> losses;
    for (int64_t step = 0; step <= steps; ++step) {
        const Tensor loss = model.loss(batch, {}).loss;
        losses.push_back(loss.item());
        if (step == steps) break;
        backward(loss);
        for (size_t i = 0; i < parameters.size(); ++i) {
            Parameter& p = parameters[i];
            const std::string name = released_name(p.name);
            if (!grad(p.tensor).defined()) throw TrainingError("parameter \"{}\" received no gradient", name);
            if (step == 0) t.c.computed(file, "grad/" + name, grad(p.tensor).clone());
            kernels::adam_step(p.tensor, grad(p.tensor), m[i], v[i], adam, rate, step + 1, 1);
            zero_grad(p.tensor);
            if (step == 0)
                t.c.computed(file, "after_step1/" + name,
                             Computed{.value = p.tensor.detach().clone(),
                                      .elements = well_determined(t.golden(file, "grad/" + name))});
        }
    }
    clear_tape();
    t.c.computed(file, "losses", Tensor::from(losses, {static_cast<int64_t>(losses.size())}));
}

}  // namespace wavllm::verify
