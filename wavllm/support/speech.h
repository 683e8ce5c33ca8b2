#pragma once
// What train, eval, transcribe and demo have in common.

#include "infer/evaluate.h"
#include "models/wavllm/system.h"
#include "train/trainer.h"

namespace wavllm {

/// presets/NAME.json, or the path itself if it is a file. Throws UsageError listing the presets there are.
std::filesystem::path preset_path(const std::string& name, const std::filesystem::path& home);
/// build_system with the models the preset names, found or fetched (see find_model).
System load_system(const Preset& preset);
/// load_examples with a progress bar.
std::vector<SpeechExample> load_with_progress(const System& system, const std::filesystem::path& manifest,
                                              const std::string& what);
/// Runs the trainer with a progress bar; validations as lines.
TrainReport train_run(System& system, std::span<const SpeechExample> train, std::span<const SpeechExample> valid,
                      RunFolder& run);
/// The system an adapter file belongs to, with its parameters loaded.
System load_adapter_system(const std::filesystem::path& adapter);
/// "39 of 40 exactly right (97.5 %), WER ..., CER ..." on one line.
std::string summary(const Evaluation& evaluation);

}  // namespace wavllm
