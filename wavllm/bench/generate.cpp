// wavllm bench generate: a language model reads a prompt and writes tokens, for one request. bench/peers sets it beside
// llama.cpp, whose llama-bench measures the same two rates (-p 256; -n 128 -d 256).

#include "infer/generate.h"

#include <sys/resource.h>

#include "data/progress.h"
#include "kernels/common/check.h"
#include "kernels/common/op_case.h"
#include "tensor/allocator.h"
#include "wavllm/bench/machine.h"
#include "wavllm/bench/timing.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/language_model.h"

namespace wavllm {

namespace {

using nlohmann::ordered_json;

struct Options {
    std::string model = "smollm2-135m-instruct-q4_1", panels = "auto", json;
    int64_t prompt = 256, tokens = 128;
    int runs = 5;
};

void check(const Options& o, const LlamaConfig& config) {
    if (o.runs < 5) throw UsageError("--runs {}: a median needs at least 5 runs", o.runs);
    if (o.prompt < 1 || o.tokens < 1) throw UsageError("--prompt and --tokens must be at least 1");
    if (o.prompt + o.tokens + 1 > config.max_positions)
        throw UsageError("--prompt {} and --tokens {}: together with one more they exceed the model's {} positions",
                         o.prompt, o.tokens, config.max_positions);
}

struct Times {
    std::vector<double> prompt, generation;  // seconds
};

/// One prompt, and the tokens behind it. The first token comes out of the prompt's last row; each one after that is a
/// pass of its own.
void run(const Llama& llama, const Options& o, const Tensor& ids, KvCache& cache, Times& times) {
    cache.truncate(0, 0);
    const int64_t length[] = {o.prompt};
    GenerateOptions options;
    options.max_new_tokens = o.tokens + 1;
    const Stopwatch watch;
    double first = 0;
    int64_t made = 0;
    options.on_token = [&](size_t, int32_t) {
        if (made++ == 0) first = watch.seconds();
        return true;
    };
    generate_greedy(llama, llama.embed(ids), kernels::make_borders(length), cache, options);
    times.prompt.push_back(first);
    times.generation.push_back(watch.seconds() - first);
}

/// Tokens a second; the fastest is the highest.
Timing rates(std::vector<double> seconds, int64_t tokens) {
    for (double& s : seconds) s = static_cast<double>(tokens) / s;
    Timing t = summarize(std::move(seconds));
    std::swap(t.fastest, t.slowest);
    return t;
}

size_t peak_resident_bytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<size_t>(usage.ru_maxrss) * 1024;
}

int bench_generate(const Options& o) {
    const double load = load_average();
    const Stopwatch loading;
    const Llama llama = load_language_model(o.model, frozen_dtype(o.panels)).llama;
    const double loaded = loading.seconds();
    check(o, llama.config());
    const Tensor ids = random_ids({o.prompt}, llama.config().vocab);
    KvCache cache(llama.config(), 1, o.prompt + o.tokens + 1, llama.device());
    Times times, warm;
    Progress bar("bench generate", o.runs + 1, "runs");
    run(llama, o, ids, cache, warm);
    memory::reset_peaks();
    for (int i = 0; i < o.runs; ++i) {
        bar.update(i + 1);
        run(llama, o, ids, cache, times);
    }
    bar.update(o.runs + 1);
    bar.finish();
    const Timing prompt = rates(times.prompt, o.prompt), generation = rates(times.generation, o.tokens);
    const double first_token = loaded + warm.prompt[0];
    if (o.json != "-") {
        fmt::print("{} with {} weights; load average {:.1f}\n\n", o.model, o.panels, load);
        const auto line = [](const char* what, const Timing& t, int64_t tokens) {
            fmt::print("{:<12}{:.1f} tokens/s (median of {}; {:.1f} to {:.1f}), {} tokens\n", what, t.median, t.runs,
                       t.slowest, t.fastest, tokens);
        };
        line("prompt", prompt, o.prompt);
        line("generation", generation, o.tokens);
        fmt::print("\nfirst token {} after the prompt was given, {} after the start of loading ({} of it)\n",
                   format_seconds(summarize(times.prompt).median), format_seconds(first_token), format_seconds(loaded));
        fmt::print("peak of the process {:.1f} MB\n\n{}", static_cast<double>(peak_resident_bytes()) / 1e6,
                   memory::report());
    }
    if (!o.json.empty())
        write_json({{"model", o.model},
                    {"panels", o.panels},
                    {"prompt_tokens", o.prompt},
                    {"generated_tokens", o.tokens},
                    {"prompt_tokens_per_second", prompt.to_json()},
                    {"generation_tokens_per_second", generation.to_json()},
                    {"first_token_seconds", summarize(times.prompt).to_json()},
                    {"load_seconds", loaded},
                    {"start_to_first_token_seconds", first_token},
                    {"peak_bytes", memory::total(llama.device()).peak},
                    {"peak_resident_bytes", peak_resident_bytes()},
                    {"load_average", load}},
                   o.json);
    return 0;
}

WAVLLM_PART(bench, generate,
            {"generate", "a language model: prompt and generation, tokens a second",
             "wavllm bench generate --prompt 256 --tokens 128", [](cli::App& app) {
                 auto o = std::make_shared<Options>();
                 app.add_option("--model", o->model, "as in chat (" + o->model + ")");
                 app.add_option("--prompt", o->prompt, "random tokens that it reads (256)");
                 app.add_option("--tokens", o->tokens, "that it writes, one by one (128)");
                 app.add_option("--runs", o->runs, "timed runs, at least 5 (5)");
                 add_frozen(app, o->panels);
                 app.add_option("--json", o->json, "write the figures to this file (- is stdout)");
                 return [o] { return bench_generate(*o); };
             }});

}  // namespace

}  // namespace wavllm
