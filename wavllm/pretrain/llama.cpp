// wavllm pretrain llama: the next byte of sentences.

#include "train/pretrain/llama.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "data/synth/text.h"
#include "wavllm/pretrain/run.h"

namespace wavllm {

namespace {

struct Options {
    LlamaPretrainOptions run;
    std::string out;
    bool resume = false;
};

std::string bits(const nlohmann::ordered_json& line) {
    return fmt::format("{:.3f} bits a byte", line["loss"].get<double>() / std::numbers::ln2);
}

int run(const Options& o, const cli::App& app) {
    if (!o.resume && o.run.text.empty()) throw UsageError("pretrain llama: name what to train on: --text FILE");
    const auto [folder, options] = open_run(app, o.out, o.resume, o.run);
    const Sentences text = read_sentences(options.text, {});
    const auto too_long = std::count_if(text.sentences.begin(), text.sentences.end(), [&](const std::string& s) {
        return static_cast<int64_t>(s.size()) > options.longest;
    });
    LlamaPretraining training(folder, options, text.sentences);
    fmt::print(
        "{} lines: {} left out whose reading would be a guess or that have one word, {} repeated, {} of more than {} "
        "bytes\n{} sentences, {} kept back; {} parameters\n",
        text.read, text.unreadable, text.repeated, too_long, options.longest, training.sentences(), training.held_out(),
        count(training.model().parameters()));
    if (!train_to_end(app, o.out, options.run.steps, training, bits)) return 130;
    if (training.held_out() > 0) fmt::print("validation: {}\n", bits(training.validate()));
    fmt::print("model: {}\n", folder.model().string());
    return 0;
}

WAVLLM_PART(pretrain, llama,
            {"llama", "LLaMA: the next byte of sentences",
             "wavllm pretrain llama --text samples/text/sentences.tsv.gz --steps 100 --out runs/llama",
             [](cli::App& app) {
                 auto o = std::make_shared<Options>();
                 LlamaPretrainOptions& r = o->run;
                 app.add_option("--text", r.text, "a sentence a line, or a table with a column `text`; perhaps gzip");
                 app.add_option("--out", o->out, "folder of the run")->required();
                 app.add_flag("--resume", o->resume, "go on where the run's newest checkpoint stands");
                 app.add_option("--size", r.size, "micro or small")->capture_default_str();
                 const auto positive = [&](const char* name, int64_t& value, const char* what) {
                     app.add_option(name, value, what)->capture_default_str()->positive();
                 };
                 positive("--steps", r.run.steps, "of the whole run");
                 positive("--batch-tokens", r.batch_tokens, "bytes in a step");
                 positive("--longest", r.longest, "bytes of a sentence; longer ones are left out");
                 positive("--save-every", r.run.save_every, "steps");
                 app.add_option("--warmup", r.run.warmup_steps, "steps until the rate is reached")
                     ->capture_default_str()
                     ->not_negative();
                 app.add_option("--rate", r.run.rate, "peak learning rate")->capture_default_str()->positive();
                 app.add_option("--seed", r.run.seed, "of weights and batches")->capture_default_str();
                 return [o, &app] { return run(*o, app); };
             }});

}  // namespace

}  // namespace wavllm
