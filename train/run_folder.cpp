#include "train/run_folder.h"

#include "models/checkpoint/checkpoint.h"
#include "tensor/atomic_file.h"
#include "train/record.h"
#include "train/training_state.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

}  // namespace

RunFolder RunFolder::create(const fs::path& path, const Preset& preset) {
    if (fs::exists(path / "config.json"))
        throw UsageError("{}: a run is there already; continue it with --resume, or choose another folder with --out",
                         path.string());
    RunFolder run(path);
    run.preset_ = preset;
    std::error_code error;
    fs::create_directories(path / "checkpoints", error);
    if (error) throw FileError("{}: the run's folder cannot be made: {}", path.string(), error.message());
    write_file_atomically(path / "config.json", preset.to_json().dump(4) + '\n');
    return run;
}

RunFolder RunFolder::open(const fs::path& path) {
    if (!fs::exists(path / "config.json")) throw UsageError("{}: no run is there (no config.json)", path.string());
    RunFolder run(path);
    run.preset_ = load_preset(path / "config.json");
    return run;
}

void RunFolder::log(const nlohmann::ordered_json& metrics) {
    append_line(path_ / "metrics.jsonl", metrics);
}

void RunFolder::log_timing(const nlohmann::ordered_json& timing) {
    append_line(path_ / "timing.jsonl", timing);
}

void RunFolder::save(int64_t steps_done, Optimizer& optimizer, int64_t keep) {
    save_training_state(path_ / "checkpoints", steps_done, optimizer, keep, {{"preset", preset_.to_json().dump()}});
}

int64_t RunFolder::restore(Optimizer& optimizer) {
    const int64_t steps_done = restore_training_state(path_ / "checkpoints", optimizer);
    cut_metrics(path_ / "metrics.jsonl", steps_done);
    cut_validations(*this, steps_done);
    return steps_done;
}

void RunFolder::save_adapter(const Parameters& parameters) const {
    const DType dtype = preset_.train.adapter_dtype == "f16"    ? DType::f16
                        : preset_.train.adapter_dtype == "bf16" ? DType::bf16
                                                                : DType::f32;
    TensorsToStore file;
    for (const Parameter& p : parameters) file.add(p.name, p.tensor.detach().to(dtype));
    write_safetensors(adapter_file(), file.tensors(), adapter_metadata(preset_, base_));
}

}  // namespace wavllm
