#pragma once
// The parts of a report's data, each from what a run left. page/*.js says what is drawn of them.

#include "wavllm/report/run_files.h"

namespace wavllm {

// curves.cpp
/// Columns over the logged steps ("step", "loss", "grad_norm_lora", ...; null where a step has no such value). Very long
/// runs are averaged over "mean_of" steps.
Json training_columns(const RunFiles& run);
/// One object a validation and set: step, set, loss, wer, cer, accuracy, ctc_wer, ctc_cer, ctc_accuracy.
Json validation_points(const RunFiles& run);
/// The newest figures of every validation and test set.
Json figures(const RunFiles& run, const Json& validation_points);
/// Steps, seconds of audio, target tokens, trained parameters.
Json totals(const RunFiles& run);

// examples.cpp
/// Best, median and worst clips of each set, with recordings; and the clips of `attention` get theirs.
Json examples(const RunFiles& run, Json& attention);

// describe.cpp
/// What the run is, in one or two sentences.
std::string sentence(const Preset& preset);
/// What goes beyond the paper's recipe: {name, on, what}.
Json additions(const Preset& preset);
Json stages(const Preset& preset);

// machine.cpp
Json machine(const RunFiles& run);

}  // namespace wavllm
