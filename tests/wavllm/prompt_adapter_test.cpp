// The prompt adapter and LoRA with a strength for each request. Witnesses: the paper's equations 3 to 5 in float64,
// central differences, the first stage, and the same computation alone. Values of the released code are held by
// tests/golden.

#include "models/prompt_adapter/prompt_adapter.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/tape.h"
#include "infer/beam_search.h"
#include "infer/generate.h"
#include "kernels/common/check.h"
#include "tensor/thread_pool.h"
#include "tests/support/stage2_model.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

Tensor normals(const Shape& shape, uint64_t seed, float size = 1) {
    Tensor t = Tensor::empty(shape);
    const Philox rng(seed, "normals", 0);
    for (int64_t i = 0; i < t.numel(); ++i) t.mutable_data<float>()[i] = size * rng.normal(static_cast<uint64_t>(i));
    return t;
}

/// r as the paper has it: every o first, then their sum weighted by a.
std::vector<double> by_equations(const PromptAdapter& adapter, const Tensor& t) {
    std::map<std::string, std::vector<double>> w;
    for (const Parameter& p : adapter.parameters()) w[p.name] = p.tensor.values();
    const auto d = adapter.config().dim, h = adapter.config().hidden, m = t.dim(0);
    const std::vector<double> x = t.values();
    const auto at = [](const std::vector<double>& v, int64_t i) { return v[static_cast<size_t>(i)]; };
    std::vector<double> o, scores;
    for (int64_t i = 0; i < m; ++i) {
        std::vector<double> g;
        for (int64_t j = 0; j < h; ++j) {
            double sum = at(w["scale_fc_1.bias"], j);
            for (int64_t k = 0; k < d; ++k) sum += at(w["scale_fc_1.weight"], j * d + k) * at(x, i * d + k);
            g.push_back(sum / 2 * (1 + std::erf(sum / std::sqrt(2.0))));
        }
        double score = at(w["scale_weight_attention.bias"], 0);
        for (int64_t k = 0; k < d; ++k) {
            double sum = at(w["scale_fc_2.bias"], k);
            for (int64_t j = 0; j < h; ++j) sum += at(w["scale_fc_2.weight"], k * h + j) * at(g, j);
            o.push_back(sum);
            score += at(w["scale_weight_attention.weight"], k) * sum;
        }
        scores.push_back(score);
    }
    double total = 0;
    for (const double s : scores) total += std::exp(s);
    std::vector<double> r(static_cast<size_t>(d), 0);
    for (int64_t i = 0; i < m; ++i)
        for (int64_t k = 0; k < d; ++k) r[static_cast<size_t>(k)] += std::exp(at(scores, i)) / total * at(o, i * d + k);
    if (adapter.config().clamp > 0)
        for (double& v : r) v = std::min(std::max(v, 0.0), adapter.config().clamp);
    return r;
}

std::string loss_bytes(const Wavllm& model, const SpeechBatch& batch, const StepContext& context = {}) {
    const WavllmLoss loss = model.loss(batch, context);
    return bytes_of(loss.loss) + bytes_of(loss.row_losses);
}

std::map<std::string, std::string> gradients(const Wavllm& model, const SpeechBatch& batch,
                                             const StepContext& context) {
    for (const Parameter& p : model.parameters()) zero_grad(p.tensor);
    backward(model.loss(batch, context).loss);
    std::map<std::string, std::string> result;
    for (const Parameter& p : model.parameters()) result[p.name] = bytes_of(grad(p.tensor));
    return result;
}

}  // namespace

TEST_CASE("prompt adapter: r is that of equations 3 and 4, with and without limits") {
    const NoGrad no_grad;
    for (const double clamp : {0.0, 0.5}) {
        PromptAdapter adapter({.dim = 24, .hidden = 10, .start = 0.4, .clamp = clamp}, 3);
        disturb(adapter.parameters(), 0.4f);
        const int64_t lengths[] = {1, 9, 4};
        const Tensor t = normals({14, 24}, 8), borders = kernels::make_borders(lengths);
        const std::vector<double> r = adapter.forward(t, borders).values();
        double largest = 0, error = 0;
        for (size_t s = 0, begin = 0; s < 3; begin += static_cast<size_t>(lengths[s++])) {
            const auto b = static_cast<int64_t>(begin);
            const std::vector<double> want = by_equations(adapter, t.slice(0, b, b + lengths[s]).to_contiguous());
            for (size_t i = 0; i < 24; ++i) {
                largest = std::max(largest, std::abs(want[i]));
                error = std::max(error, std::abs(want[i] - r[s * 24 + i]));
            }
        }
        CHECK(error <= 2e-6);  // of values around 1
        if (clamp > 0) CHECK(largest == 0.5);
    }
}

TEST_CASE("prompt adapter: a new one gives alpha / rank for every instruction, to the bit") {
    const NoGrad no_grad;
    for (const double start : {1.0, 2.0, 0.7}) {
        const PromptAdapter adapter({.dim = 32, .hidden = 12, .start = start}, 4);
        const int64_t lengths[] = {3, 17};
        for (const double r : adapter.forward(normals({20, 32}, 5, 30), kernels::make_borders(lengths)).values())
            CHECK(r == static_cast<float>(start));
    }
}

TEST_CASE("the second stage begins with the losses of the first, to the bit, and with its gradients") {
    const auto examples = stage2_examples(6);
    const SpeechBatch batch = make_batch(pointers(examples), true);
    const Wavllm first = stage2_model(0), second = stage2_model(12);
    CHECK(loss_bytes(first, batch) == loss_bytes(second, batch));
    const StepContext training{.seed = 3, .step = 5, .training = true};  // dropout too
    CHECK(loss_bytes(first, batch, training) == loss_bytes(second, batch, training));
    const auto a = gradients(first, batch, training), b = gradients(second, batch, training);
    for (const auto& [name, gradient] : a) CHECK_MESSAGE(b.at(name) == gradient, name);
    for (const auto& [name, gradient] : b)
        if (name == "scale_fc_2.weight" || name == "scale_fc_2.bias")
            CHECK_MESSAGE(gradient != std::string(gradient.size(), '\0'), name);
    StepContext off = training;
    off.adaptive = false;
    Wavllm other = stage2_model(12);
    disturb(other.prompt_adapter().parameters(), 0.3f);
    CHECK(loss_bytes(other, batch, off) == loss_bytes(first, batch, training));
    CHECK(loss_bytes(other, batch, training) != loss_bytes(first, batch, training));
}

TEST_CASE("r, losses, greedy text and beams of a request do not depend on its batch or on threads") {
    const NoGrad no_grad;
    Wavllm model = stage2_model(12);
    disturb(model.prompt_adapter().parameters(), 0.3f);
    const auto examples = stage2_examples(7);
    const auto all = pointers(examples);
    const auto run = [&](std::span<const SpeechExample* const> part, std::vector<std::string>& results) {
        const SpeechBatch batch = make_batch(part, true);
        const LoraRun lora = model.lora_run(batch.plan);
        const Tensor losses = model.loss(batch, {}).row_losses;
        const LlmInput in = model.inputs(make_batch(part, false));
        const auto greedy = generate_greedy(model.llama(), in.x, in.plan.borders,
                                            {.max_new_tokens = 6, .eos = 2, .lora = &model.lora(), .run = lora});
        BeamOptions options;
        options.beams = 3;
        options.max_new_tokens = 5;
        options.eos = 2;
        options.lora = &model.lora();
        options.run = lora;
        const auto beams = beam_search(model.llama(), in.x, in.plan.borders, options);
        for (size_t i = 0; i < part.size(); ++i) {
            const auto row = static_cast<int64_t>(i);
            const int64_t* b = batch.plan.target_borders.data<int64_t>() + i;
            std::string bytes =
                bytes_of(lora.scale.r.select(0, row).clone()) + bytes_of(lora.kv_r.select(0, row).clone());
            bytes += bytes_of(losses.slice(0, b[0], b[1]).clone());
            for (const int32_t token : greedy[i].tokens) bytes += std::to_string(token) + " ";
            for (const Hypothesis& h : beams[i])
                bytes += fmt::format("{} {:a} {:a}\n", fmt::join(h.tokens, " "), h.log_prob, h.score);
            results.push_back(bytes);
        }
    };
    std::vector<std::string> together, alone, threads;
    run(all, together);
    for (size_t i = 0; i < all.size(); ++i) run(std::span(all).subspan(i, 1), alone);
    CHECK(together == alone);
    const int before = num_threads();
    set_num_threads(before == 3 ? 1 : 3);
    run(all, threads);
    set_num_threads(before);
    CHECK(together == threads);
    CHECK(together[0] != together[1]);
}

TEST_CASE("the gradient of the prompt adapter is that of central differences, with shared key-value heads too") {
    Wavllm model = stage2_model(6);
    disturb(model.prompt_adapter().parameters(), 0.3f);
    const auto examples = stage2_examples(3);
    const SpeechBatch batch = make_batch(pointers(examples), true);
    gradients(model, batch, {});
    for (Parameter& p : model.prompt_adapter().parameters()) {
        if (p.zero_updates == Parameter::kAlways) continue;
        const Tensor g = grad(p.tensor).clone();
        // along the gradient the loss must change by its length
        double length = 0;
        for (const double v : g.values()) length += v * v;
        length = std::sqrt(length);
        REQUIRE(length > 0);
        const Tensor start = p.tensor.detach().clone();
        const auto at = [&](double step) {
            const NoGrad no_grad;
            Tensor w = p.tensor;
            for (int64_t i = 0; i < w.numel(); ++i)
                w.mutable_data<float>()[i] =
                    start.data<float>()[i] +
                    static_cast<float>(step * static_cast<double>(g.data<float>()[i]) / length);
            double sum = 0;
            for (const double l : model.loss(batch, {}).row_losses.values()) sum += l;
            return sum / static_cast<double>(batch.plan.targets.numel());
        };
        constexpr double kStep = 4e-3;
        const double slope = (at(kStep) - at(-kStep)) / (2 * kStep);
        at(0);
        CHECK_MESSAGE(std::abs(slope - length) <= 0.02 * length + 2e-4, p.name << ": " << slope << " " << length);
    }
}

TEST_CASE("second-stage gradients are the same with activation checkpointing and for a batch cut in two, to the bit") {
    Wavllm model = stage2_model(12);
    disturb(model.prompt_adapter().parameters(), 0.3f);
    const auto examples = stage2_examples(6);
    const auto all = pointers(examples);
    StepContext context{.seed = 3, .step = 5, .training = true};
    const SpeechBatch whole = make_batch(all, true);
    context.normalizer = static_cast<double>(whole.plan.targets.numel());
    const auto plain = gradients(model, whole, context);
    context.checkpoint_activations = true;
    CHECK(gradients(model, whole, context) == plain);
    context.checkpoint_activations = false;
    for (const Parameter& p : model.parameters()) zero_grad(p.tensor);
    for (const size_t first : {0, 3})
        backward(model.loss(make_batch(std::span(all).subspan(first, 3), true), context).loss);
    for (const Parameter& p : model.parameters()) CHECK_MESSAGE(bytes_of(grad(p.tensor)) == plain.at(p.name), p.name);
}

TEST_CASE("an instruction that samples share is read once, and every sample needs one") {
    std::vector<PromptIds> ids(3);
    for (PromptIds& p : ids) p = {{1}, {2}, {3}, {7, 8}};
    ids[1].instruction = {9};
    const SequencePlan plan = plan_sequences(ids, std::vector<int64_t>(3, 0), std::vector<int64_t>(3, 0));
    CHECK(plan.instructions.values() == std::vector<double>{7, 8, 9});
    CHECK(plan.instruction_positions.values() == std::vector<double>{0, 1, 0});
    CHECK(plan.instruction_rows.values() == std::vector<double>{0, 1, 2, 0, 1});
    CHECK(plan.instruction_of.values() == std::vector<double>{0, 2, 3, 5});
    ids[2].instruction.clear();
    CHECK_THROWS_WITH_AS(plan_sequences(ids, std::vector<int64_t>(3, 0), std::vector<int64_t>(3, 0)),
                         doctest::Contains("sample 2 has none"), ShapeError);
    const Wavllm model = stage2_model(8);
    const auto examples = tiny_examples(2);  // without instructions
    CHECK_THROWS_WITH_AS(model.loss(make_batch(pointers(examples), true), {}),
                         doctest::Contains("bring no instruction"), ShapeError);
    clear_tape();
    CHECK_THROWS_WITH_AS(PromptAdapter({.dim = 8, .hidden = 4, .start = 4, .clamp = 3}, 1),
                         doctest::Contains("alpha / rank = 4"), UsageError);
    CHECK_THROWS_WITH_AS(
        model.prompt_adapter().forward(Tensor::zeros({2, 32}), kernels::make_borders(std::array<int64_t, 2>{2, 0})),
        doctest::Contains("instruction 1 has no tokens"), ShapeError);
}

TEST_CASE("LoRA on some of the projections: the others are the base model's") {
    CHECK(lora_targets("q,k,v,o") == std::array{true, true, true, true});
    CHECK(lora_targets("v,q") == std::array{true, false, true, false});
    for (const char* wrong : {"", "q,", "q,q", "x", "qv", "q v", ",q"})
        CHECK_THROWS_AS(lora_targets(wrong), UsageError);

    const Wavllm model = tiny_model();
    const auto dims = model.llama().lora_dims();
    const Lora all({.rank = 4, .alpha = 8}, 2, dims, 5),
        some({.rank = 4, .alpha = 8, .targets = lora_targets("q,v")}, 2, dims, 5);
    CHECK(some.parameters().size() == 8);
    CHECK(all.parameters().size() == 16);
    disturb(some.parameters(), 0.2f);
    // the same values, and nothing on k and o
    for (const Parameter& p : all.parameters()) {
        Tensor t = p.tensor;
        t.assign(Tensor::zeros(t.shape()));
        for (const Parameter& q : some.parameters())
            if (q.name == p.name) t.assign(q.tensor.detach());
    }
    const auto examples = tiny_examples(3);
    const SpeechBatch batch = make_batch(pointers(examples), true);
    const NoGrad no_grad;
    const Wavllm a(model.shared_llama(), model.bridge(), some), b(model.shared_llama(), model.bridge(), all);
    CHECK(loss_bytes(a, batch) == loss_bytes(b, batch));
    CHECK(loss_bytes(a, batch) != loss_bytes(model, batch));
}
