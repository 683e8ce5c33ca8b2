// wavllm bench step: one LoRA training step on a frozen language model with the sizes of SmolLM2-135M and random
// weights. bench/peers/torch_train_step.py is the same step in PyTorch.

#include "autograd/ops/cross_entropy.h"
#include "autograd/ops/rows.h"
#include "autograd/tape.h"
#include "data/progress.h"
#include "kernels/common/check.h"
#include "kernels/common/op_case.h"
#include "models/llama/random.h"
#include "tensor/allocator.h"
#include "tensor/op_clock.h"
#include "train/optimizer.h"
#include "wavllm/bench/machine.h"
#include "wavllm/bench/timing.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

using nlohmann::ordered_json;

struct Options {
    int64_t sequences = 4, tokens = 160, targets = 40, rank = 32, layers = 30;
    int runs = 5, warm_up = 2;
    std::string panels = "auto", json;
    bool checkpoint = false, profile = false;
};

LlamaConfig smollm2(int64_t layers) {
    LlamaConfig c;
    c.dim = 576;
    c.layers = layers;
    c.heads = 9;
    c.kv_heads = 3;
    c.ffn = 1536;
    c.vocab = 49152;
    c.rope_theta = 100000;
    return c;
}

struct StepTimes {
    std::vector<double> forward, backward, optimizer, all;
};

class Step {
public:
    explicit Step(const Options& o)
        : llama_(random_llama(smollm2(o.layers), 1, true, frozen_dtype(o.panels))),
          lora_({.rank = o.rank, .alpha = static_cast<double>(o.rank), .dropout = 0}, o.layers, llama_.lora_dims(), 1),
          optimizer_(lora_.parameters(), {}) {
        PurposeScope scope(Purpose::data);
        const int64_t rows = o.sequences * o.tokens;
        x_ = random({rows, llama_.config().dim}, 0.1).to(llama_.device());
        targets_ = random_ids({o.sequences * o.targets}, llama_.config().vocab);
        target_rows_ = Tensor::empty({o.sequences * o.targets}, DType::i32);
        for (int64_t i = 0; i < target_rows_.numel(); ++i)
            target_rows_.mutable_data<int32_t>()[i] =
                static_cast<int32_t>(i / o.targets * o.tokens + o.tokens - o.targets + i % o.targets);
        const std::vector<int64_t> lengths(static_cast<size_t>(o.sequences), o.tokens);
        pass_.borders = kernels::make_borders(lengths);
        pass_.positions = LlamaPass::positions_for(pass_.borders);
        pass_.lora = &lora_;
        run_.scale.s = lora_.stage1_scale();
        pass_.run = run_;
        pass_.checkpoint_activations = o.checkpoint;
    }

    void run(int64_t step, StepTimes& times) {
        const StepArena arena(step);
        const Stopwatch watch;
        double forward = 0, backward_end = 0;
        {
            const Tensor h = llama_.forward(x_, pass_);
            const Tensor at_targets = llama_.final_norm(gather_rows(h, target_rows_));
            const CrossEntropy loss =
                cross_entropy(at_targets, llama_.head(), targets_, static_cast<double>(targets_.numel()));
            synchronize(x_.device());
            forward = watch.seconds();
            backward(loss.loss);
            synchronize(x_.device());
            backward_end = watch.seconds();
            loss_ = loss.loss.item();
        }
        optimizer_.update(1, optimizer_.norms(step));
        arena.check();
        synchronize(x_.device());
        const double end = watch.seconds();
        times.forward.push_back(forward);
        times.backward.push_back(backward_end - forward);
        times.optimizer.push_back(end - backward_end);
        times.all.push_back(end);
    }
    /// One more step, with its time by op. On a GPU the launches must be waited for: WAVLLM_CUDA_SYNC=1.
    OpClock profile(int64_t step) {
        OpClock clock;
        StepTimes times;
        const OpClock::Running running(clock);
        run(step, times);
        OpClock::read("optimizer and loss", OpClock::Pass::other);
        return clock;
    }

    /// Multiplications and additions that the step cannot avoid: every frozen and LoRA product forward and once more
    /// for the gradient that passes through, and the gradients of A and B.
    double flops() const {
        const LlamaConfig& c = llama_.config();
        const auto rows = static_cast<double>(x_.dim(0)), targets = static_cast<double>(targets_.numel());
        const auto d = static_cast<double>(c.dim), kv = static_cast<double>(c.kv_heads * c.head_dim());
        const double frozen = 2 * d * d + 2 * d * kv + 3 * d * static_cast<double>(c.ffn);
        const auto lora = static_cast<double>(count(lora_.parameters()));
        return 2 * rows * (2 * static_cast<double>(c.layers) * frozen + 3 * lora) +
               4 * targets * d * static_cast<double>(c.vocab);
    }
    int64_t trainable() const {
        return count(lora_.parameters());
    }
    double loss() const {
        return loss_;
    }

private:
    Llama llama_;
    Lora lora_;
    Optimizer optimizer_;
    LoraRun run_;
    LlamaPass pass_;
    Tensor x_, targets_, target_rows_;
    double loss_ = 0;
};

ordered_json memory_json() {
    ordered_json out;
    for (size_t i = 0; i < kPurposes; ++i) {
        const auto purpose = static_cast<Purpose>(i);
        out[std::string(name(purpose))] = memory::account(purpose, model_device()).peak;
    }
    out["total"] = memory::total(model_device()).peak;
    return out;
}

ordered_json profile_json(const OpClock& clock) {
    ordered_json out = ordered_json::array();
    for (const OpClock::Entry& e : clock.entries())
        out.push_back({{"op", std::string(e.op)},
                       {"calls", e.calls},
                       {"forward_seconds", e.forward},
                       {"backward_seconds", e.backward},
                       {"other_seconds", e.other}});
    return out;
}

void print_profile(const OpClock& clock) {
    Table table({"op", "calls", "forward", "backward", "other"}, {true});
    for (const OpClock::Entry& e : clock.entries())
        table.add({std::string(e.op), std::to_string(e.calls), format_seconds(e.forward), format_seconds(e.backward),
                   format_seconds(e.other)});
    fmt::print("\n");
    table.print();
}

void check(const Options& o) {
    if (o.runs < 5) throw UsageError("--runs {}: a median needs at least 5 runs", o.runs);
    if (o.sequences < 1 || o.tokens < 1 || o.layers < 1 || o.rank < 1 || o.warm_up < 0)
        throw UsageError("--sequences, --tokens, --layers and --rank must be at least 1");
    if (o.targets < 1 || o.targets > o.tokens)
        throw UsageError("--targets {}: must be from 1 to the {} tokens of a sequence", o.targets, o.tokens);
}

int bench_step(const Options& o) {
    check(o);
    const double load = load_average();
    const Stopwatch making;
    Step step(o);
    const double made = making.seconds();
    StepTimes times, warm;
    Progress bar("bench step", o.warm_up + o.runs, "steps");
    for (int i = 0; i < o.warm_up; ++i) {
        step.run(i, warm);
        bar.update(i + 1);
    }
    memory::reset_peaks();
    const uint64_t requests = memory::system_requests();
    for (int i = o.warm_up; i < o.warm_up + o.runs; ++i) {
        step.run(i, times);
        bar.update(i + 1, fmt::format("loss {:.4f}", step.loss()));
    }
    bar.finish();
    const uint64_t asked = memory::system_requests() - requests;
    const OpClock profile = o.profile ? step.profile(o.warm_up + o.runs) : OpClock();
    const Timing all = summarize(times.all), forward = summarize(times.forward), back = summarize(times.backward),
                 adam = summarize(times.optimizer);
    if (o.json != "-") {
        fmt::print(
            "{} x {} tokens, {} targets each, frozen SmolLM2 sizes with {} layers and random {} weights, LoRA rank {} "
            "({} trainable)\nload average {:.1f}; made in {}\n\n",
            o.sequences, o.tokens, o.targets, o.layers, o.panels, o.rank, step.trainable(), load, format_seconds(made));
        fmt::print("step       {} (median of {}; {} to {}), {:.0f} GFLOP/s, {:.0f} tokens/s\n",
                   format_seconds(all.median), all.runs, format_seconds(all.fastest), format_seconds(all.slowest),
                   step.flops() / all.median / 1e9, static_cast<double>(o.sequences * o.tokens) / all.median);
        fmt::print("forward    {}\nbackward   {}\noptimiser  {}\n\n{}", format_seconds(forward.median),
                   format_seconds(back.median), format_seconds(adam.median), memory::report());
        fmt::print("\nrequests to the system for memory in the {} timed steps: {}\n", o.runs, asked);
        if (o.profile) print_profile(profile);
    }
    if (o.json.empty()) return 0;
    ordered_json out = {{"seconds", all.to_json()},
                        {"forward_seconds", forward.to_json()},
                        {"backward_seconds", back.to_json()},
                        {"optimizer_seconds", adam.to_json()},
                        {"flops", step.flops()},
                        {"trainable_parameters", step.trainable()},
                        {"peak_bytes", memory_json()},
                        {"memory_requests", asked},
                        {"load_average", load}};
    if (o.profile) out["profile"] = profile_json(profile);
    write_json(out, o.json);
    return 0;
}

WAVLLM_PART(bench, step,
            {"step", "one LoRA training step on a frozen SmolLM2-135M with random weights", "wavllm bench step",
             [](cli::App& app) {
                 auto o = std::make_shared<Options>();
                 app.add_option("--sequences", o->sequences, "sequences in the batch (4)");
                 app.add_option("--tokens", o->tokens, "tokens of each (160)");
                 app.add_option("--targets", o->targets, "of these the last so many count in the loss (40)");
                 app.add_option("--rank", o->rank, "of LoRA on q, k, v, o (32)");
                 app.add_option("--layers", o->layers, "blocks of the model (30)");
                 app.add_option("--runs", o->runs, "timed steps, at least 5 (5)");
                 app.add_option("--warm-up", o->warm_up, "steps before them (2)");
                 add_frozen(app, o->panels);
                 app.add_flag("--checkpoint-activations", o->checkpoint,
                              "keep only the blocks' inputs, compute the rest again in backward");
                 app.add_flag("--profile", o->profile, "the time of one more step by op");
                 app.add_option("--json", o->json, "write the figures to this file (- is stdout)");
                 return [o] { return bench_step(*o); };
             }});

}  // namespace

}  // namespace wavllm
