#pragma once
// What train, eval, transcribe and demo have in common.

#include "infer/evaluate.h"
#include "models/wavllm/load_examples.h"
#include "train/trainer.h"

namespace wavllm {

/// presets/NAME.json, or the path itself if it is a file. Throws UsageError listing the presets there are.
std::filesystem::path preset_path(const std::string& name, const std::filesystem::path& home);
/// build_system with the models the preset names, found or fetched (see find_model).
System load_system(const Preset& preset);
/// What an adapter of this preset stands on.
BaseModels base_models(const Preset& preset);
/// The configurations of the models that the preset names; no weights are read.
BaseConfigs base_configs(const Preset& preset);
/// Holds the adapter that train.from names, if it names one, to the preset and its models, and prints on stderr what
/// differs on purpose. Throws what start_file, check_start (train/start.h) and AdapterFile::check_shapes throw.
void check_start(const Preset& preset, const std::filesystem::path& home);
/// load_examples with a progress bar where something has to be encoded.
std::vector<SpeechExample> load_with_progress(const System& system, const FeatureCache* cache,
                                              std::span<const std::filesystem::path> manifests, const std::string& what,
                                              EncodeSummary* summary = nullptr);
std::vector<SpeechExample> load_with_progress(const System& system, const FeatureCache* cache,
                                              const std::filesystem::path& manifest, const std::string& what);
/// The cache that --no-cache leaves: none, if it was given.
std::unique_ptr<FeatureCache> feature_cache(const System& system, bool no_cache);
/// Throws UsageError for the first manifest that is not there.
void expect_manifests(const Manifests& manifests, const std::filesystem::path& home);
/// The sets of a preset (data.train, ...), relative paths taken from `home`. Keys count over all of them.
std::vector<ExampleSet> load_sets(const System& system, const FeatureCache* cache, const Manifests& manifests,
                                  const std::filesystem::path& home, const std::string& what);
/// Runs the trainer with a progress bar; validations as lines, and as the report in the run's folder.
TrainReport train_run(System& system, std::span<const ExampleSet> train, std::span<const ExampleSet> valid,
                      RunFolder& run);
/// The system an adapter file belongs to, with its parameters loaded; or the whole system of a released checkpoint
/// (final.pt, or a safetensors file of that layout), with the tokenizer.model beside it. Numbers of attention heads that
/// are not the published models' stand in a config.json there: {"whisper_heads": 4, "llm_heads": 3}.
/// frozen: of the frozen weights (frozen_dtype); "auto": what the adapter's preset names.
System load_adapter_system(const std::filesystem::path& adapter, const std::string& frozen = "auto");
/// "39 of 40 exactly right (97.5 %), WER ..., CER ..." on one line.
std::string summary(const Evaluation& evaluation);
/// "speech: loss ..., ..." for each set, with the CTC head's answers where there are any.
std::string summary(const std::vector<Validation>& validations);

}  // namespace wavllm
