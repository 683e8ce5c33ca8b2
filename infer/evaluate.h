#pragma once
// Answers of a WavLLM to a set of examples, and how right they are.

#include <functional>

#include "data/tokenizer/tokenizer.h"
#include "infer/wer.h"
#include "kernels/sample/sample.h"
#include "models/preset/preset.h"
#include "models/wavllm/example.h"

namespace wavllm {

struct Answer {
    std::string id, reference, text;
    std::vector<int32_t> tokens;
    std::vector<int64_t> rows{};  ///< of the CTC head: the row of speech in which each token begins
};

struct Evaluation {
    std::vector<Answer> answers;
    ErrorRates rates;   ///< WER and CER, raw and normalised
    int64_t exact = 0;  ///< answers equal to the reference after Whisper's English normaliser
    double accuracy() const {
        return answers.empty() ? 0 : static_cast<double>(exact) / static_cast<double>(answers.size());
    }
};

/// How the LLM's answers are found.
struct Decoding {
    Sampling sampling{.temperature = 0};  ///< 0: greedy
    int64_t beams = 1;                    ///< above 1: beam search
    double length_penalty = 1;
    bool begin_with_bos = false;  ///< BOS in place of the first token behind the speech, as the released generator does
    bool count_prompt = false;    ///< max_new_tokens counts the tokens behind the speech but the first, as it does too
    double lora_scale = 1;        ///< LoRA's strength as a multiple of the trained one (LoraRun::times)
};

struct AnswerOptions {
    int64_t max_new_tokens = 64;
    Decoding decoding{};
    int64_t batch = 16;       ///< requests decoded together; the answers do not depend on it
    double ctc_weight = 0.4;  ///< in joint decoding (infer/joint_decode.h), with so many beams
    int64_t beams = 4;
    std::function<void(size_t done, size_t total)> progress{};
};

/// What a preset says about its answers.
AnswerOptions answer_options(const Preset& preset);

/// The LLM's answers, in the order of the examples. A drawn one belongs to (decoding.sampling.seed, the example's key):
/// it is the same in every batch.
std::vector<Answer> answer(const Wavllm& model, const Tokenizer& tokenizer,
                           std::span<const SpeechExample* const> examples, const AnswerOptions& options);
Evaluation evaluate(const Wavllm& model, const Tokenizer& tokenizer, std::span<const SpeechExample* const> examples,
                    const AnswerOptions& options);
/// The same from the CTC head alone: one pass of the adapter, no LLM. Throws UsageError if the model has no such head.
std::vector<Answer> answer_by_ctc(const Wavllm& model, const Tokenizer& tokenizer,
                                  std::span<const SpeechExample* const> examples, int64_t batch = 16);
Evaluation evaluate_by_ctc(const Wavllm& model, const Tokenizer& tokenizer,
                           std::span<const SpeechExample* const> examples);
/// The transcripts that LLM and CTC head find best together. For transcription only. Throws UsageError as
/// answer_by_ctc does.
std::vector<Answer> answer_jointly(const Wavllm& model, const Tokenizer& tokenizer,
                                   std::span<const SpeechExample* const> examples, const AnswerOptions& options);
Evaluation evaluate_jointly(const Wavllm& model, const Tokenizer& tokenizer,
                            std::span<const SpeechExample* const> examples, const AnswerOptions& options);
/// Mean cross-entropy per target token over the examples, without dropout.
double mean_loss(const Wavllm& model, std::span<const SpeechExample* const> examples, int64_t batch = 16);

}  // namespace wavllm
