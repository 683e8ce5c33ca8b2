#pragma once
// A system of full size without any file: random weights, one token a byte.

#include "models/wavllm/system.h"

namespace wavllm {

/// What load_system gives for a preset with model.random_weights: encoders and language model of the sizes that its names
/// stand for (models/known_sizes.h), drawn from train.seed.
System load_random_system(const Preset& preset);

/// How many parameters are frozen and trained, the full model as the paper counts it beside what this configuration has:
/// a few lines of text.
std::string parameter_summary(const System& system);

/// What a finished run took: seconds of each step, the time by op, the memory account and the most this process ever held.
/// run: its folder.
std::string resources_of(const std::filesystem::path& run);

}  // namespace wavllm
