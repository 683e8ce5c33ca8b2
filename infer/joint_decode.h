#pragma once
// Beam search in which the LLM and the CTC head judge a transcript together (hybrid CTC/attention decoding, Watanabe et
// al. 2017, equation 41): the LLM knows which words follow each other, the CTC head that every sound is to be accounted
// for once and in order, so that nothing is repeated without end, skipped or made up.

#include <functional>

#include "infer/ctc_prefix.h"
#include "models/llama/llama.h"

namespace wavllm {

struct JointOptions {
    double ctc_weight = 0.4;  ///< score = (1 - ctc_weight) log p(LLM) + ctc_weight log p(CTC)
    int64_t beams = 4;        ///< texts kept
    int64_t candidates = 12;  ///< the LLM's likeliest next tokens that are looked at for each of them
    int64_t max_new_tokens = 128;
    int32_t eos = -1;
    const Lora* lora = nullptr;
    LoraRun run{};  ///< of lora; its r, if any, of one request
};

/// The columns of CtcPrefix that a token of the LLM is spelt with; first: it begins the transcript. Empty: CTC cannot
/// say it.
using Spelling = std::function<std::vector<int32_t>(int32_t token, bool first)>;

/// The best transcript of one request, x: [T, dim] its input embeddings, T > 0; without the EOS. The same bits on any
/// number of threads.
std::vector<int32_t> decode_jointly(const Llama& llama, const Tensor& x, const CtcPrefix& ctc, const Spelling& spelling,
                                    const JointOptions& options);

}  // namespace wavllm
