#include "train/pretrain/loop.h"

#include <chrono>
#include <cmath>

#include "autograd/tape.h"
#include "data/json.h"
#include "tensor/atomic_file.h"
#include "tensor/text.h"
#include "train/stop_signal.h"
#include "train/training_state.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Forward, backward and update; fills the line.
void train_step(Optimizer& optimizer, const Schedule& schedule, int64_t step, const PretrainCallbacks& callbacks,
                ordered_json& line) {
    const StepArena arena(step);
    const auto forward_backward = [&](ordered_json& figures) {
        const Tensor loss = callbacks.loss(step, figures);
        backward(loss);
        return loss.item();
    };
    const double loss = forward_backward(line);
    const GradientNorms norms = optimizer.norms(step);
    if (!std::isfinite(loss) || !norms.finite) {
        optimizer.zero_gradients();
        FiniteCheck check;  // a step repeats to the bit, so the replay meets the same value
        ordered_json ignored;
        forward_backward(ignored);
        throw TrainingError("pretrain: step {}: loss {} or a gradient is not finite, though every op's result is", step,
                            loss);
    }
    const double rate = schedule.factor(step);
    optimizer.update(rate, norms);
    line["rate"] = rate;
    line["grad_norm"] = norms.total;
    arena.check();
}

}  // namespace

void check_option(const std::string& where, const char* name, double value, double least, double most) {
    if (!(value >= least && value <= most))  // neither holds for NaN
        throw UsageError("{}: {} = {} is out of range ({} to {})", where, name, value, least, most);
}

void PretrainOptions::check(const std::string& where) const {
    constexpr double most = 1e9;
    const auto whole = [&](const char* name, int64_t value, double least) {
        check_option(where, name, static_cast<double>(value), least, most);
    };
    whole("steps", steps, 1);
    whole("warmup_steps", warmup_steps, 0);
    whole("save_every", save_every, 1);
    whole("keep", keep, 1);
    whole("validate_every", validate_every, 0);
    check_option(where, "rate", rate, 1e-12, 1e3);
    check_option(where, "weight_decay", weight_decay, 0, 1e3);
    check_option(where, "clip_norm", clip_norm, 0, most);
}

void expect_pretrained(const nlohmann::json& options, const std::string& model, const std::string& file) {
    const std::string found = options.is_object() && options.contains("model") && options["model"].is_string()
                                  ? options["model"].get<std::string>()
                                  : "";
    if (found == model) return;
    if (found.empty()) throw FileError("{}: no \"model\"; was this run of `wavllm pretrain {}`?", file, model);
    throw FileError("{}: this run is of `wavllm pretrain {}`; continue it with that, not with `pretrain {}`", file,
                    printable(found), model);
}

PretrainFolder PretrainFolder::create(const fs::path& path, const ordered_json& options) {
    const fs::path metrics = path / "metrics.jsonl", saved = path / "checkpoints";
    const bool trained = (fs::exists(metrics) && fs::file_size(metrics) > 0) ||
                         (fs::is_directory(saved) && !fs::is_empty(saved)) || fs::exists(path / "model");
    if (fs::exists(path / "pretrain.json") && trained)
        throw UsageError("{}: a run is there already; continue it with --resume, or choose another folder with --out",
                         path.string());
    PretrainFolder folder(path);
    std::error_code error;
    fs::create_directories(folder.checkpoints(), error);
    if (!error) fs::remove(path / "clusters.safetensors", error);  // of a run that made no step
    if (error) throw FileError("{}: the run's folder cannot be made: {}", path.string(), error.message());
    write_file_atomically(path / "pretrain.json", options.dump(4) + '\n');
    folder.options_ = options;
    return folder;
}

PretrainFolder PretrainFolder::open(const fs::path& path) {
    if (!fs::exists(path / "pretrain.json"))
        throw UsageError("{}: no pre-training run is there (no pretrain.json)", path.string());
    PretrainFolder folder(path);
    folder.options_ = read_json_file(path / "pretrain.json");
    return folder;
}

void PretrainFolder::log(const ordered_json& line) const {
    append_line(path_ / "metrics.jsonl", line);
}

void PretrainFolder::log_timing(const ordered_json& line) const {
    append_line(path_ / "timing.jsonl", line);
}

PretrainReport pretrain(const PretrainFolder& folder, const Parameters& parameters, const PretrainOptions& options,
                        const PretrainCallbacks& callbacks) {
    const StopSignalScope signals;
    GroupSettings settings = only_group(parameters.at(0).group, options.rate);
    Optimizer optimizer(parameters, {{0.9, 0.98, 1e-8, options.weight_decay}, options.clip_norm}, settings);
    PretrainReport report;
    int64_t step = restore_training_state(folder.checkpoints(), optimizer), saved = step;
    cut_metrics(folder.path() / "metrics.jsonl", step);
    for (GroupSetting& s : settings) s.updates = s.trained ? step : 0;
    optimizer.configure(settings);
    const Schedule schedule{options.steps, options.warmup_steps, "linear", 0};
    const auto save = [&] {
        if (saved != step) save_training_state(folder.checkpoints(), step, optimizer, options.keep, {});
        saved = step;
    };
    while (step < options.steps && !stop_requested()) {
        const double start = now();
        ordered_json line = {{"step", step}};
        train_step(optimizer, schedule, step, callbacks, line);
        folder.log(line);
        folder.log_timing({{"step", step}, {"seconds", now() - start}});
        ++step;
        const bool due = options.validate_every > 0 && step % options.validate_every == 0;
        if (callbacks.validate && (due || step == options.steps))
            for (const ordered_json& figures : callbacks.validate()) {
                ordered_json valid = {{"step", step - 1}};
                valid.update(figures);
                folder.log(valid);
            }
        // after the lines of its step: what is resumed from here has them
        if (step % options.save_every == 0 || step == options.steps) save();
        if (callbacks.step) callbacks.step(step, line);
    }
    report.steps_done = step;
    report.stopped = step < options.steps;
    save();
    return report;
}

void write_model(const fs::path& folder, const std::vector<std::pair<std::string, Tensor>>& tensors,
                 const ordered_json& config) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) throw FileError("{}: the model's folder cannot be made: {}", folder.string(), error.message());
    TensorsToStore file;
    for (const auto& [name, tensor] : tensors) file.add(name, tensor.detach());
    write_safetensors(folder / "model.safetensors", file.tensors(), {{"format", "pt"}});
    write_file_atomically(folder / "config.json", config.dump(2) + '\n');
}

}  // namespace wavllm
