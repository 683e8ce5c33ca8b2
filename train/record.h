#pragma once
// What a run leaves for its report besides metrics: who said what in the validation clips, every head's answers after
// every validation, what the LLM looked at, and where time and memory went.
//
//     clips.jsonl                   one line a validation clip: set, id, seconds, speaker, task, reference, audio
//     validations/step-N.jsonl      one line a clip after N steps: set, id, reference, llm, ctc
//     evaluations/NAME-HEAD.jsonl   the same for a manifest that was evaluated after the run
//     attention.json                attention of answers on speech, of the newest validation
//
// The same bytes in every run of the same configuration and files; time and memory go to timing.jsonl.

#include "infer/evaluate.h"
#include "tensor/op_clock.h"
#include "train/run_folder.h"

namespace wavllm {

/// Clips of one set, and what was answered by whom; null: nobody asked.
struct AnsweredSet {
    std::string name;
    std::vector<const SpeechExample*> clips;
    const Evaluation* llm = nullptr;
    const Evaluation* ctc = nullptr;
    const Evaluation* joint = nullptr;  ///< LLM and CTC head together
};

/// Writes clips.jsonl; `sets` need no answers.
void record_clips(const RunFolder& run, std::span<const AnsweredSet> sets);
/// Writes validations/step-N.jsonl.
void record_validation(const RunFolder& run, int64_t steps_done, std::span<const AnsweredSet> sets);
/// Writes evaluations/NAME-llm.jsonl, NAME-ctc.jsonl and NAME-joint.jsonl, those there are.
void record_evaluation(const RunFolder& run, const AnsweredSet& set);
/// Writes attention.json for a few clips whose LLM answers are given, each from one more pass through the LLM.
void record_attention(const RunFolder& run, int64_t steps_done, const Wavllm& model, const Tokenizer& tokenizer,
                      std::span<const AnsweredSet> sets);
/// Appends to timing.jsonl the times of `steps` steps of a stage by op, then the memory account of the
/// model's device.
void record_profile(RunFolder& run, int64_t steps_done, const std::string& stage, int64_t steps, const OpClock& clock,
                    Device device);
/// Removes validations of more than steps_done steps: a resumed run makes them again.
void cut_validations(const RunFolder& run, int64_t steps_done);

/// Steps that a file of validations/ stands for, and the file; in order.
std::map<int64_t, std::filesystem::path> recorded_validations(const std::filesystem::path& run);

}  // namespace wavllm
