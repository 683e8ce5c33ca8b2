#pragma once
// Who answers in `wavllm chat`: a language model in text, a WavLLM that hears, or the cascade of Whisper and a language
// model, which the WavLLM paper compares itself with (tables 3, 4 and 10).

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "wavllm/support/decode_flags.h"

namespace wavllm {

struct ChatOptions {
    std::string model;            ///< language model of text and cascade; empty: SmolLM2
    std::string chat_template;    ///< of text and cascade: chatml or llama2; empty: what the tokenizer was made for
    std::string system_prompt;    ///< stands before their conversation
    std::string adapter;          ///< of the WavLLM; empty: the one that ships with the project
    std::string whisper;          ///< ears of the cascade; empty: whisper-base
    std::string language;         ///< Whisper's code; empty: en
    std::string panels = "auto";  ///< of frozen weights
    int64_t max_tokens = 256;     ///< of a reply
    int64_t context = 2048;       ///< of the whole conversation
    DecodeFlags decode;
};

struct ChatClip {
    std::string file;
    std::vector<float> samples;  ///< 16 kHz
};

struct ChatReply {
    std::string text;
    std::string transcript;  ///< what the cascade heard
    size_t prompt_tokens = 0, tokens = 0;
    double first_token = 0, seconds = 0;  ///< since the turn began
};

/// One conversation: what was said before is known in every turn.
class ChatPartner {
public:
    virtual ~ChatPartner() = default;
    /// One turn, with a clip or nullptr. Streams the reply to `out` as it comes, unless that is null. Throws UsageError
    /// for a message that does not fit the context.
    virtual ChatReply say(const std::string& text, const ChatClip* clip, std::FILE* out) = 0;
};

/// These throw UsageError for options that the partner has no use for, and what loading throws.
std::unique_ptr<ChatPartner> make_text_partner(const ChatOptions& options);
std::unique_ptr<ChatPartner> make_cascade_partner(const ChatOptions& options);
std::unique_ptr<ChatPartner> make_speech_partner(const ChatOptions& options);

/// What the cascade asks its language model about a transcript:
///     A recording says: "TRANSCRIPT"\n\nPROMPT
std::string cascade_message(const std::string& transcript, const std::string& prompt);

}  // namespace wavllm
