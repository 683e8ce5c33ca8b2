// wavllm perplexity: what the format of frozen weights costs a language model, on a text.

#include "infer/perplexity.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "data/progress.h"
#include "models/checkpoint/dequantized.h"
#include "wavllm/command.h"
#include "wavllm/support/home.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/language_model.h"
#include "wavllm/support/model_files.h"
#include "wavllm/support/stopwatch.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

struct Options {
    std::string model = "smollm2-135m-instruct-q4_1", text, json;
    std::vector<std::string> frozen = {"f32", "bf16", "int8", "q8_0", "q4_1", "q4_0"};
    int64_t window = 512, tokens = 0;
    bool dequantized = false;
};

struct Result {
    std::string frozen;
    size_t weight_bytes = 0;
    Perplexity perplexity;
    double seconds = 0;
};

std::string read_text(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw FileError("{}: cannot be read; give a text with --text", path.string());
    return {std::istreambuf_iterator<char>(in), {}};
}

/// The model's weights alone.
Llama load(const Checkpoint& checkpoint, DType panels) {
    const Weights weights(checkpoint);
    weights.ignore("rope_freqs.");  // ones: llama_config refuses other factors
    Llama llama = Llama::load(weights, llama_config(checkpoint), panels);
    weights.finish();
    return llama;
}

Result measure(const Checkpoint& checkpoint, const std::string& frozen, const std::vector<int32_t>& ids,
               int64_t window) {
    const auto before = memory::account(Purpose::weights).bytes;
    const Llama llama = load(checkpoint, frozen_dtype(frozen));
    Result r{.frozen = frozen, .weight_bytes = static_cast<size_t>(memory::account(Purpose::weights).bytes - before)};
    Progress bar(frozen, static_cast<int64_t>(ids.size()), "tokens");
    const Stopwatch watch;
    r.perplexity = perplexity(llama, ids, window, [&](int64_t done) { bar.update(done); });
    r.seconds = watch.seconds();
    bar.finish();
    return r;
}

int run(const Options& o) {
    const auto original = open_checkpoint(find_model(o.model).model());
    const auto widened = o.dequantized ? dequantized(*original, DType::q4_1) : nullptr;
    const Checkpoint& checkpoint = widened ? *widened : *original;
    const std::filesystem::path file =
        o.text.empty() ? home_folder() / "samples/text/perplexity.txt" : std::filesystem::path(o.text);
    std::vector<int32_t> ids = load_tokenizer(*original)->encode(read_text(file));
    if (o.tokens > 0) ids.resize(std::min(ids.size(), static_cast<size_t>(o.tokens)));
    std::vector<Result> results;
    for (const std::string& frozen : o.frozen) results.push_back(measure(checkpoint, frozen, ids, o.window));
    const double first = results.front().perplexity.value();
    const auto more = [&](const Result& r) { return 100 * (r.perplexity.value() / first - 1); };
    if (!o.json.empty()) {
        nlohmann::ordered_json list = nlohmann::ordered_json::array();
        for (const Result& r : results)
            list.push_back({{"frozen", r.frozen},
                            {"perplexity", r.perplexity.value()},
                            {"nats", r.perplexity.nats},
                            {"tokens", r.perplexity.tokens},
                            {"more_percent", more(r)},
                            {"weight_bytes", r.weight_bytes},
                            {"seconds", r.seconds}});
        write_json({{"model", o.model},
                    {"text", file.string()},
                    {"window", o.window},
                    {"dequantized", o.dequantized},
                    {"results", list}},
                   o.json);
        return 0;
    }
    Table table({"frozen", "perplexity", fmt::format("to {} %", o.frozen.front()), "weights MB", "tokens/s"}, {true});
    for (const Result& r : results)
        table.add({r.frozen, fmt::format("{:.6f}", r.perplexity.value()), fmt::format("{:+.4f}", more(r)),
                   fmt::format("{:.1f}", static_cast<double>(r.weight_bytes) / 1e6),
                   fmt::format("{:.0f}", static_cast<double>(r.perplexity.tokens) / r.seconds)});
    fmt::print("{}{}, {} tokens of {} in windows of {}\n", o.model, o.dequantized ? " with Q4_1 read as f32" : "",
               ids.size(), file.filename().string(), o.window);
    table.print();
    return 0;
}

}  // namespace

WAVLLM_COMMAND(perplexity,
               {"perplexity", "how well a language model foresees a text, with its weights in several formats",
                "wavllm perplexity --frozen f32,bf16,int8", [](cli::App& app) {
                    auto o = std::make_shared<Options>();
                    const auto names = frozen_dtype_names();
                    app.add_option("--model", o->model,
                                   "name in presets/sources.json, GGUF file or Hugging Face folder")
                        ->capture_default_str();
                    app.add_option("--text", o->text, "a text file (samples/text/perplexity.txt)");
                    app.add_option("--frozen", o->frozen, "formats, by commas; differences are to the first")
                        ->delimiter(',')
                        ->one_of({names.begin(), names.end()})
                        ->capture_default_str();
                    app.add_option("--window", o->window, "tokens that are read together")->capture_default_str();
                    app.add_option("--tokens", o->tokens, "no more of the text than this (0: all)");
                    app.add_flag("--dequantized", o->dequantized, "read the file's Q4_1 as f32 before anything else");
                    app.add_option("--json", o->json, "write the figures to this file (- is stdout)");
                    return [o] { return run(*o); };
                }});

}  // namespace wavllm
