#pragma once
// A conversation with a WavLLM: every turn may bring a clip, and all turns before it are in the KV cache.

#include "infer/evaluate.h"
#include "models/llama/kv_cache.h"

namespace wavllm {

class SpeechConversation {
public:
    /// context: tokens and rows of speech of the whole conversation, answers included. Both references live as long as
    /// the conversation.
    SpeechConversation(const Wavllm& model, const Tokenizer& tokenizer, int64_t context);

    /// The answer to one turn. turn: laid out by make_prompt, or make_turn if it is not the first (data/chat_turn.h); its
    /// target is ignored. The strength r of LoRA is that of the turn's own instruction; what earlier turns left in the
    /// cache stays as it was. Drawn tokens belong to (seed, the turn's key). decode.begin_with_bos and count_prompt hold as
    /// for single questions: with count_prompt the turn's tokens after its speech count against max_new_tokens.
    /// on_token sees every token as it comes, EOS included; an answer without it was cut, and the next turn begins as if it
    /// had ended there. Throws UsageError, and changes nothing, if the context has no room left for the turn and the
    /// longest answer, if count_prompt leaves no token to answer with, and for beam search, which would need a cache for
    /// each beam.
    Answer say(const SpeechExample& turn, const AnswerOptions& options,
               const std::function<void(int32_t)>& on_token = {});

    /// Turns so far.
    int64_t turns() const {
        return turns_;
    }
    /// Rows that the cache holds.
    int64_t held() const {
        return cache_.length(0);
    }

private:
    const Wavllm& model_;
    const Tokenizer& tokenizer_;
    KvCache cache_;
    std::vector<int32_t> pending_;  // what the last answer ended with and is not in the cache yet
    int64_t turns_ = 0;
};

}  // namespace wavllm
