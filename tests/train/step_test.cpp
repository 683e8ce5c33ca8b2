// One training step: what it asks of the heap, and the errors it owes. Witness: counters and deliberately broken
// models.

#include <doctest/doctest.h>

#include <cstdlib>
#include <new>

#include "autograd/ops/add.h"
#include "autograd/ops/mul.h"
#include "autograd/ops/rms_norm.h"
#include "autograd/ops/scale.h"
#include "autograd/ops/sum_all.h"
#include "autograd/tape.h"
#include "tests/support/connector_model.h"
#include "tests/support/stage2_model.h"

// Every allocation of this test program is counted; the counter is read by the test below. noinline: else g++ takes the
// malloc and free inside for a new and delete that do not belong together.
static std::atomic<uint64_t> g_allocations{0};

[[gnu::noinline]] void* operator new(size_t bytes) {
    g_allocations.fetch_add(1, std::memory_order_relaxed);
    if (void* p = std::malloc(bytes ? bytes : 1)) return p;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t bytes, std::align_val_t alignment) {
    g_allocations.fetch_add(1, std::memory_order_relaxed);
    const size_t a = static_cast<size_t>(alignment);
    if (void* p = std::aligned_alloc(a, (bytes + a - 1) / a * a)) return p;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept {
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept {
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, size_t, std::align_val_t) noexcept {
    std::free(p);
}

using namespace wavllm;
using namespace wavllm::tests;

TEST_CASE("a training step asks neither heap nor system for memory after the second") {
    for (const auto& [checkpointing, second_stage] :
         {std::pair(false, false), {true, false}, {false, true}, {true, true}}) {
        CAPTURE(checkpointing);
        CAPTURE(second_stage);
        const Wavllm model = second_stage ? stage2_model(8) : tiny_model();
        const auto examples = stage2_examples(4);
        Preset preset = tiny_preset(6);
        preset.train.checkpoint_activations = checkpointing;
        if (second_stage) preset.train.trains = "adapter+lora+prompt";
        const Stage stage = preset.all_stages()[0];
        Optimizer optimizer(model.parameters(), {}, group_settings(preset, 0));
        const std::vector<SpeechBatch> batches(2, make_batch(pointers(examples), true));
        for (int64_t step = 0; step < 6; ++step) {
            const uint64_t heap = g_allocations, system = memory::system_requests();
            training_step(model, optimizer, batches, step, step, stage, preset);
            CAPTURE(step);
            if (step < 2) continue;
            CHECK(g_allocations - heap == 0);
            CHECK(memory::system_requests() == system);
        }
    }
}

TEST_CASE("a step with another connector takes nothing from the heap either") {
    for (const char* kind : {"qformer", "pooled"}) {
        CAPTURE(kind);
        const Wavllm model = connector_model(kind);
        const auto examples = tiny_examples(4);
        const Preset preset = tiny_preset(5);
        const Stage stage = preset.all_stages()[0];
        Optimizer optimizer(model.parameters(), {}, group_settings(preset, 0));
        const std::vector<SpeechBatch> batches(2, make_batch(pointers(examples), true, model.bridge()));
        for (int64_t step = 0; step < 5; ++step) {
            const uint64_t heap = g_allocations, system = memory::system_requests();
            training_step(model, optimizer, batches, step, step, stage, preset);
            CAPTURE(step);
            if (step < 2) continue;
            CHECK(g_allocations - heap == 0);
            CHECK(memory::system_requests() == system);
        }
    }
}

TEST_CASE("the loss falls, and the clips are learned") {
    const Wavllm model = tiny_model();
    const auto examples = tiny_examples(16);
    const Preset preset = tiny_preset(120);
    const Stage stage = preset.all_stages()[0];
    Optimizer optimizer(model.parameters(), {}, group_settings(preset, 0));
    const std::vector<SpeechBatch> batches{make_batch(pointers(examples), true)};
    const double first = training_step(model, optimizer, batches, 0, 0, stage, preset).loss;
    double last = first;
    for (int64_t step = 1; step < 120; ++step)
        last = training_step(model, optimizer, batches, step, step, stage, preset).loss;
    CHECK(last < 0.2 * first);
    CHECK(evaluate(model, NumberTokenizer(), pointers(examples), {.max_new_tokens = 4}).accuracy() > 0.9);
}

TEST_CASE("a frozen model keeps nothing for a backward pass") {
    const Wavllm model = tiny_model();
    const auto examples = tiny_examples(2);
    const SpeechBatch batch = make_batch(pointers(examples), true);
    NoGrad no_grad;
    const Tensor loss = model.loss(batch, {}).loss;
    CHECK(tape_length() == 0);
    CHECK(!requires_grad(loss));
}

TEST_CASE("a parameter without a gradient is an error that names it") {
    Parameters parameters{{"adapter.norm.weight", constant_parameter({4}, 1, "adapter.norm.weight"), "adapter"}};
    const Optimizer optimizer(parameters, {});
    CHECK_THROWS_WITH_AS(optimizer.norms(0),
                         doctest::Contains("\"adapter.norm.weight\" received no gradient in step 0"), TrainingError);
}

TEST_CASE("an exactly zero gradient is an error unless it is declared") {
    const Tensor w = constant_parameter({4}, 1, "w");
    backward(sum_all(scale(w, 0)));
    CHECK_THROWS_WITH_AS(Optimizer({{"w", w, "adapter"}}, {}).norms(3), doctest::Contains("\"w\" is exactly zero"),
                         TrainingError);
    GroupSettings later;
    for (GroupSetting& g : later) g.updates = 1;
    CHECK_NOTHROW(Optimizer({{"w", w, "lora", true}}, {}).norms(0));
    CHECK_THROWS_AS(Optimizer({{"w", w, "lora", true}}, {}, later).norms(1), TrainingError);
}

TEST_CASE("a value that is not finite is an error that names the op which made it") {
    const Wavllm model = tiny_model();
    auto examples = tiny_examples(2);
    examples[1].features.mutable_data<float>()[7] = std::numeric_limits<float>::infinity();
    Optimizer optimizer(model.parameters(), {});
    const std::vector<SpeechBatch> batches{make_batch(pointers(examples), true)};
    CHECK_THROWS_WITH_AS(training_step(model, optimizer, batches, 0, 0, tiny_preset(1).all_stages()[0], tiny_preset(1)),
                         doctest::Contains("conv1d: its result is the first"), TrainingError);
    clear_tape();
}

TEST_CASE("writing to what the tape still needs is an error") {
    Tensor x = Tensor::full({2, 4}, 1.5), w = constant_parameter({4}, 1, "w");
    const Tensor y = sum_all(rms_norm(x, w, 1e-5f));
    x.mutable_data<float>()[0] = 2;
    CHECK_THROWS_WITH_AS(backward(y), doctest::Contains("was written to in place"), TrainingError);
    clear_tape();
}

TEST_CASE("a tensor that outlives its step is an error") {
    const StepArena arena(4);
    const Tensor kept = Tensor::zeros({1000});
    CHECK_THROWS_WITH_AS(arena.check(), doctest::Contains("step 4"), TrainingError);
}
