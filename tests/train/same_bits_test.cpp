// The promise "same bits": losses, gradients and texts do not depend on threads, activation checkpointing, the other
// clips in the batch, or how a batch is cut for accumulation. Witness: the same computation done the other way,
// compared byte by byte.

#include <doctest/doctest.h>

#include "autograd/gradient_check.h"
#include "autograd/tape.h"
#include "kernels/common/fusion.h"
#include "tensor/thread_pool.h"
#include "tests/support/tiny_model.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

/// All losses of a run of `steps` steps, and all parameters at its end.
std::string train_bytes(int64_t steps, bool checkpoint_activations, int64_t accumulate = 1) {
    const Wavllm model = tiny_model();
    const auto examples = tiny_examples(16);
    Preset preset = tiny_preset(steps);
    preset.train.checkpoint_activations = checkpoint_activations;
    const Stage stage = preset.all_stages()[0];
    Optimizer optimizer(model.parameters(), {}, group_settings(preset, 0));
    std::string bytes;
    const auto all = pointers(examples);
    for (int64_t step = 0; step < steps; ++step) {
        const size_t first = static_cast<size_t>(step) * 4 % 16;
        std::vector<SpeechBatch> micro;
        const auto each = static_cast<size_t>(4 / accumulate);
        for (size_t i = 0; i < 4; i += each) micro.push_back(make_batch(std::span(all).subspan(first + i, each), true));
        const StepResult r = training_step(model, optimizer, micro, step, step, stage, preset);
        bytes.append(reinterpret_cast<const char*>(&r.norms.total), sizeof(double));
        if (accumulate == 1) bytes.append(reinterpret_cast<const char*>(&r.loss), sizeof(double));
    }
    for (const Parameter& p : optimizer.parameters()) bytes += bytes_of(p.tensor);
    return bytes;
}

std::vector<std::string> gradients(const Wavllm& model, const SpeechBatch& batch, const StepContext& context) {
    for (const Parameter& p : model.parameters()) zero_grad(p.tensor);
    backward(model.loss(batch, context).loss);
    std::vector<std::string> result;
    for (const Parameter& p : model.parameters()) result.push_back(bytes_of(grad(p.tensor)));
    return result;
}

}  // namespace

TEST_CASE("20 steps give the same bytes with 1, 2 and 3 threads") {
    const int before = num_threads();
    set_num_threads(1);
    const std::string one = train_bytes(20, false);
    for (int threads : {2, 3}) {
        set_num_threads(threads);
        CHECK(train_bytes(20, false) == one);
    }
    set_num_threads(before);
}

TEST_CASE("20 steps give the same bytes with activation checkpointing") {
    CHECK(train_bytes(20, true) == train_bytes(20, false));
}

TEST_CASE("a clip's losses are the same bytes alone and among others, with dropout on") {
    const Wavllm model = tiny_model();
    const auto examples = tiny_examples(6);
    const auto all = pointers(examples);
    const StepContext context{.seed = 3, .step = 9, .training = true};
    const SpeechBatch together = make_batch(all, true);
    const Tensor losses = model.loss(together, context).row_losses;
    const int64_t* borders = together.plan.target_borders.data<int64_t>();
    clear_tape();
    for (size_t i = 0; i < all.size(); ++i) {
        const Tensor alone = model.loss(make_batch(std::span(all).subspan(i, 1), true), context).row_losses;
        CHECK(bytes_of(alone) == bytes_of(losses.slice(0, borders[i], borders[i + 1])));
        clear_tape();
    }
}

TEST_CASE("gradients of a clip are the same bytes whatever other clips go through with it") {
    // The others' losses do not count: their targets are taken away, their rows stay in the batch. A clip's parameter
    // gradients are chains over its own rows, and rows with zero gradient leave a chain of fused multiply-adds as it
    // is.
    const Wavllm model = tiny_model();
    const auto examples = tiny_examples(5);
    const auto clips = pointers(examples);
    auto silent = examples;
    for (size_t i : {0, 1, 3, 4}) silent[i].ids.target.clear();
    const StepContext context{.seed = 3, .step = 2, .training = true};
    const auto alone = gradients(model, make_batch(std::span(clips).subspan(2, 1), true), context);
    const auto among = gradients(model, make_batch(pointers(silent), true), context);
    REQUIRE(alone.size() == among.size());
    for (size_t i = 0; i < alone.size(); ++i) {
        CAPTURE(model.parameters()[i].name);
        CHECK(alone[i] == among[i]);
    }
}

TEST_CASE("a batch in four pieces gives the gradients of the whole to rounding, and the same bytes every time") {
    const std::string once = train_bytes(3, false, 4);
    CHECK(train_bytes(3, true, 4) == once);
    const Wavllm model = tiny_model(0);
    const auto examples = tiny_examples(4);
    const auto all = pointers(examples);
    StepContext context{.training = true, .normalizer = 12};
    const auto whole = gradients(model, make_batch(all, true), context);
    for (const Parameter& p : model.parameters()) zero_grad(p.tensor);
    for (size_t i = 0; i < 4; ++i) backward(model.loss(make_batch(std::span(all).subspan(i, 1), true), context).loss);
    size_t i = 0;
    for (const Parameter& p : model.parameters()) {
        const Tensor g = grad(p.tensor);
        const auto* expected = reinterpret_cast<const float*>(whole[i++].data());
        double scale = 1e-6;
        for (int64_t k = 0; k < g.numel(); ++k) scale = std::max(scale, std::abs(static_cast<double>(expected[k])));
        for (int64_t k = 0; k < g.numel(); ++k) CHECK(std::abs(g.data<float>()[k] - expected[k]) <= 1e-5 * scale);
    }
}

TEST_CASE("answers are the same tokens alone and in any batch") {
    const Wavllm model = tiny_model();
    const auto examples = tiny_examples(7);
    const NumberTokenizer tokenizer;
    const auto all = pointers(examples);
    const auto one_by_one = answer(model, tokenizer, all, {.max_new_tokens = 12, .batch = 1});
    for (int64_t batch : {3, 7}) {
        const auto together = answer(model, tokenizer, all, {.max_new_tokens = 12, .batch = batch});
        for (size_t i = 0; i < all.size(); ++i) CHECK(together[i].tokens == one_by_one[i].tokens);
    }
}

TEST_CASE("fused and composed ops give the same losses to rounding") {
    const Wavllm model = tiny_model();
    const auto examples = tiny_examples(4);
    const SpeechBatch batch = make_batch(pointers(examples), true);
    const StepContext context{.seed = 1, .step = 1, .training = true};
    const double fused_loss = model.loss(batch, context).loss.item();
    set_fusion("off");
    const double composed_loss = model.loss(batch, context).loss.item();
    set_fusion("on");
    clear_tape();
    CHECK(std::abs(fused_loss - composed_loss) < 1e-5 * fused_loss);
}

TEST_CASE("the gradient of a whole model agrees with central differences of its loss") {
    // f32 differences are good to a few per cent; a missing or doubled path would be off by much more
    const Wavllm model = tiny_model(0);
    const auto examples = tiny_examples(3);
    const SpeechBatch batch = make_batch(pointers(examples), true);
    const GradientError worst = gradient_check(
        [&](Inputs in) {
            SpeechBatch b = batch;
            b.features = in[0];
            return model.loss(b, {}).loss;
        },
        std::vector<Tensor>{batch.features}, 2e-2, 12);
    CHECK(worst.relative < 0.05);
}
