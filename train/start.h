#pragma once
// A run that begins where another ended (train.from): the paper's second stage begins with the first one's adapter.

#include "train/adapter_file.h"

namespace wavllm {

/// The file that train.from means: a relative path is taken from the current folder or, if nothing is there, from
/// `project`. Throws FileError, naming both, if it is in neither.
std::filesystem::path start_file(const std::string& from, const std::filesystem::path& project);

/// Holds a run to the file that it begins with, before anything is loaded: `base` are its models. Throws FileError for
/// other models (AdapterFile::check_base), and for values that decide what the same tensors compute and are not the same,
/// naming each with both and the --set that makes them equal: what stands between encoder and LLM (connector.*,
/// adapter.*), LoRA's rank, targets and, without a stored prompt adapter, alpha; a stored prompt adapter's size and
/// clamp; encoder_padding, chat_template, norm_eps and tokenizer of the model; what a CTC head does to the LLM's input.
/// model.frozen_dtype may differ: it holds the same weights in fewer bits. So may what is of training only, such as dropout
/// and learning rates. A value that train.from_changes names may differ, too; returns a line on each that does. Throws
/// UsageError if it names another.
std::vector<std::string> check_start(const AdapterFile& file, const Preset& run, const BaseModels& base);

/// An adapter file's values copied into `parameters`; of a prompt adapter that the file lacks whole the new values stay.
/// Returns whether it does. Throws FileError for any other tensor that is missing or left over.
bool start_from_adapter(const AdapterFile& file, Parameters& parameters);
bool start_from_adapter(const std::filesystem::path& file, Parameters& parameters);

}  // namespace wavllm
