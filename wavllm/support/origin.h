#pragma once
// What a run stands on, written into its folder for its report.

#include "models/wavllm/system.h"
#include "train/run_folder.h"

namespace wavllm {

/// Writes base.json (SHA-256 of the frozen models' files and of the manifests, numbers of trained parameters) and appends
/// this process to timing.jsonl (versions, processor, threads, command line).
void record_origin(RunFolder& run, const System& system);

}  // namespace wavllm
