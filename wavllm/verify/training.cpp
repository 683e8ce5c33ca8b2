// Training on sample a in both stages: gradients of the mean loss, parameters after one step of Adam, losses over five;
// and the gradients of a batch of two samples. The encoders' outputs are the stored ones; in the reference mode our own.

#include <algorithm>
#include <cmath>

#include "autograd/tape.h"
#include "kernels/adam/adam.h"
#include "kernels/common/check.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

namespace {

/// LoRA's and the prompt adapter's parameters carry the names below the LLaMA's prefix.
std::string released_name(const std::string& name) {
    return name.starts_with("layers.") || name.starts_with("scale_") ? "gpt_model.model_llama." + name : name;
}

Tensor gradient_of(const Parameter& p) {
    if (!grad(p.tensor).defined()) throw TrainingError("parameter \"{}\" received no gradient", released_name(p.name));
    return grad(p.tensor);
}

/// WavLM's, layer by layer.
std::vector<Tensor> hidden_states(const Tiny& t, const Sample& s) {
    std::vector<Tensor> layers;
    if (t.own_alone(s))
        for (int64_t i = 0; i < t.hidden.at(s.name).dim(0); ++i) layers.push_back(t.hidden.at(s.name).select(0, i));
    else
        for (std::string name; t.c.has(s.file("audio"), name = fmt::format("wavlm.hidden{}", layers.size()));)
            layers.push_back(t.golden(s.file("audio"), name));
    return layers;
}

SpeechBatch batch_of(const Tiny& t, const std::vector<const Sample*>& samples) {
    SpeechBatch b;
    std::vector<double> features;
    std::vector<int64_t> feature_rows, acoustic_rows, keys;
    std::vector<std::vector<double>> hidden;  // by layer
    const auto append = [](std::vector<double>& to, const Tensor& from) {
        const std::vector<double> values = from.values();
        to.insert(to.end(), values.begin(), values.end());
    };
    for (const Sample* s : samples) {
        const Tensor encoded = t.own_alone(*s) ? t.encoded.at(s->name) : t.golden(s->file("audio"), "whisper.encoded");
        append(features, encoded);
        feature_rows.push_back(encoded.dim(1));
        const std::vector<Tensor> layers = hidden_states(t, *s);
        acoustic_rows.push_back(layers.at(0).dim(0));
        hidden.resize(layers.size());
        for (size_t i = 0; i < layers.size(); ++i) append(hidden[i], layers[i]);
        b.prompts.push_back(s->ids);
        b.speech_rows.push_back(s->speech_rows);
        keys.push_back(static_cast<int64_t>(s->row));
    }
    b.feature_borders = kernels::make_borders(feature_rows);
    b.acoustic_borders = kernels::make_borders(acoustic_rows);
    const int64_t rows = b.feature_borders.data<int64_t>()[samples.size()],
                  frames = b.acoustic_borders.data<int64_t>()[samples.size()],
                  layers = static_cast<int64_t>(hidden.size());
    b.features = Tensor::from(features, {rows, static_cast<int64_t>(features.size()) / rows}).to(model_dtype());
    std::vector<double> mixed;
    for (const auto& layer : hidden) mixed.insert(mixed.end(), layer.begin(), layer.end());
    b.acoustic = Tensor::from(mixed, {layers, frames, static_cast<int64_t>(mixed.size()) / layers / frames});
    b.acoustic = b.acoustic.to(model_dtype());
    b.plan = plan_sequences(b.prompts, b.speech_rows, keys);
    b.keys = std::move(keys);
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

/// Five steps on one sample.
void train(Tiny& t, int stage) {
    const std::string file = fmt::format("train_stage{}.safetensors", stage);
    if (!t.c.wanted(file)) return;
    const nlohmann::json& k = t.description.at("adam");
    const AdamConfig adam{.beta1 = k.at("betas").at(0), .beta2 = k.at("betas").at(1), .eps = k.at("eps")};
    const auto rate = k.at("lr").get<double>();
    const auto steps = k.at("steps").get<int64_t>();

    const Wavllm model = t.model.fresh(stage);
    const SpeechBatch batch = batch_of(t, {&t.samples.front()});
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
            const std::string name = released_name(p.name), after = "after_step1/" + name;
            const Tensor gradient = gradient_of(p);
            if (step == 0) t.c.computed(file, "grad/" + name, gradient.clone());
            kernels::adam_step(p.tensor, gradient, m[i], v[i], adam, rate, step + 1, 1);
            zero_grad(p.tensor);
            if (step > 0) continue;
            std::vector<bool> compared = well_determined(t.golden(file, "grad/" + name));
            if (std::none_of(compared.begin(), compared.end(), [](bool b) { return b; })) {
                compared.clear();  // its true gradient is zero: all that is known is how far a step of Adam can go,
                // but that double's noise is far below Adam's eps: no step
                if (gradient.dtype() != DType::f64) t.c.allow(file, after, rate);
            }
            t.c.computed(file, after, Computed{.value = p.tensor.detach().clone(), .elements = std::move(compared)});
        }
    }
    clear_tape();
    t.c.computed(file, "losses", Tensor::from(losses, {static_cast<int64_t>(losses.size())}).to(model_dtype()));
}

/// Two samples of different lengths: what a batch adds up, each sample having its own r.
void train_batch(Tiny& t) {
    const std::string file = "train_batch_stage2.safetensors";
    if (!t.c.wanted(file)) return;
    const Wavllm model = t.model.fresh(2);
    std::vector<const Sample*> samples;
    for (const Sample& s : t.samples)
        if (s.chunks == 1) samples.push_back(&s);
    const Tensor loss = model.loss(batch_of(t, samples), {}).loss;
    t.c.computed(file, "loss_mean", loss.reshape({}));
    backward(loss);
    for (const Parameter& p : model.parameters())
        t.c.computed(file, "grad/" + released_name(p.name), gradient_of(p).clone());
    clear_tape();
}

}  // namespace

void check_training(Tiny& t) {
    train(t, 1);
    train(t, 2);
    train_batch(t);
}

}  // namespace wavllm::verify
