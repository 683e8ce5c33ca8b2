#pragma once
// The loop that pre-training of every model shares, and the folder it leaves: pretrain.json (the options), metrics.jsonl
// (one line a step, the same bytes in every run of the same options), timing.jsonl, checkpoints/ and model/ (the result, as
// Hugging Face's folders are).

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "train/optimizer.h"
#include "train/schedule.h"

namespace wavllm {

struct PretrainOptions {
    int64_t steps = 1000, warmup_steps = 100;
    double rate = 5e-4;  ///< peak
    double weight_decay = 0.01;
    double clip_norm = 1.0;
    int64_t save_every = 200, keep = 2;
    int64_t validate_every = 200;  ///< 0: only at the end
    uint64_t seed = 1;

    /// Throws UsageError, naming `where`, for a number that makes no sense.
    void check(const std::string& where) const;
};

/// Calls f(name, value) for each, in the order of pretrain.json.
template <class Options, class F>
void each_loop_option(Options& o, F&& f) {
    f("steps", o.steps);
    f("warmup_steps", o.warmup_steps);
    f("rate", o.rate);
    f("weight_decay", o.weight_decay);
    f("clip_norm", o.clip_norm);
    f("save_every", o.save_every);
    f("keep", o.keep);
    f("validate_every", o.validate_every);
    f("seed", o.seed);
}

/// Throws UsageError, naming `where` and the option, unless its value is in [least, most]. NaN is in no range.
void check_option(const std::string& where, const char* name, double value, double least, double most);

/// Throws FileError unless these options, those of `file`, are of this model: "wavlm", "llama" or "whisper".
void expect_pretrained(const nlohmann::json& options, const std::string& model, const std::string& file);

/// pretrain.json of a model: each(f) calls f(name, value) for every option.
template <class Each>
nlohmann::ordered_json options_json(const std::string& model, Each each) {
    nlohmann::ordered_json json = {{"model", model}};
    each([&](const char* name, const auto& value) { json[name] = value; });
    return json;
}

/// The same read back. Throws FileError as expect_pretrained does, and for an option that is missing or of another type.
template <class Each>
void read_options(const nlohmann::json& values, const std::string& model, const std::string& file, Each each) {
    expect_pretrained(values, model, file);
    each([&](const char* name, auto& value) {
        try {
            values.at(name).get_to(value);
        } catch (const nlohmann::json::exception&) {
            throw FileError("{}: no \"{}\", or none that fits; was this run of `wavllm pretrain {}`?", file, name,
                            model);
        }
    });
}

class PretrainFolder {
public:
    /// Makes the folder and writes pretrain.json. Throws UsageError if a run is there already that has made a step; one that
    /// failed before leaves nothing that is worth keeping, and is replaced.
    static PretrainFolder create(const std::filesystem::path& path, const nlohmann::ordered_json& options);
    static PretrainFolder open(const std::filesystem::path& path);

    const nlohmann::json& options() const {
        return options_;
    }
    const std::filesystem::path& path() const {
        return path_;
    }
    std::filesystem::path model() const {
        return path_ / "model";
    }
    std::filesystem::path checkpoints() const {
        return path_ / "checkpoints";
    }
    void log(const nlohmann::ordered_json& line) const;
    void log_timing(const nlohmann::ordered_json& line) const;

private:
    explicit PretrainFolder(std::filesystem::path path) : path_(std::move(path)) {}
    std::filesystem::path path_;
    nlohmann::json options_;
};

struct PretrainCallbacks {
    /// Records the step's loss on the tape and gives it, [1]; adds its figures to the step's line.
    std::function<Tensor(int64_t step, nlohmann::ordered_json& line)> loss;
    /// Lines of figures on what the model does not train on; may be empty.
    std::function<std::vector<nlohmann::ordered_json>()> validate{};
    /// After every step, for a progress bar, with its line.
    std::function<void(int64_t steps_done, const nlohmann::ordered_json& line)> step{};
};

struct PretrainReport {
    int64_t steps_done = 0;
    bool stopped = false;  ///< by a signal; the state is saved
};

/// Trains all of `parameters`, which are of one group, from where the folder's newest checkpoint stands to the last step:
/// Adam (0.9, 0.98), linear warm-up and decay. Throws TrainingError for parameters without a gradient and, naming the op,
/// for values that are not finite.
PretrainReport pretrain(const PretrainFolder& folder, const Parameters& parameters, const PretrainOptions& options,
                        const PretrainCallbacks& callbacks);

/// model.safetensors with these values and config.json.
void write_model(const std::filesystem::path& folder, const std::vector<std::pair<std::string, Tensor>>& tensors,
                 const nlohmann::ordered_json& config);

}  // namespace wavllm
