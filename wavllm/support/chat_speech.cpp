#include "data/chat_turn.h"
#include "infer/conversation.h"
#include "wavllm/support/chat_partner.h"
#include "wavllm/support/speech.h"
#include "wavllm/support/stopwatch.h"
#include "wavllm/support/transcriber.h"

namespace wavllm {

namespace {

/// A WavLLM: every turn may bring a clip, and turns before it stay in the KV cache.
class SpeechPartner final : public ChatPartner {
public:
    explicit SpeechPartner(const ChatOptions& o)
        : system_(load_adapter_system(o.adapter.empty() ? shipped_adapter().string() : o.adapter, o.panels)),
          conversation_(*system_.model, *system_.tokenizer, o.context),
          options_(answer_options(with_overrides(system_.preset, o.decode.overrides()))) {
        o.decode.check_used(with_overrides(system_.preset, o.decode.overrides()));
        if (options_.decoding.beams > 1)
            throw UsageError(
                "--beams {}: a conversation with a WavLLM is answered token by token; give --beams 1, or ask single "
                "questions with `wavllm transcribe --prompt`",
                options_.decoding.beams);
        options_.max_new_tokens = o.max_tokens;
    }

    ChatReply say(const std::string& text, const ChatClip* clip, std::FILE* out) override {
        const Stopwatch watch;
        const SpeechExample turn = example_of(text, clip);
        ChatReply reply;
        StreamDecoder decoder(*system_.tokenizer);
        const auto emit = [&](const std::string& piece) {
            reply.text += piece;
            if (!out) return;
            std::fwrite(piece.data(), 1, piece.size(), out);
            std::fflush(out);
        };
        const int64_t before = conversation_.held();
        conversation_.say(turn, options_, [&](int32_t token) {
            if (reply.tokens++ == 0) reply.first_token = watch.seconds();
            emit(decoder.push(token));
        });
        emit(decoder.finish());
        // the last token of the reply is not in the cache yet
        reply.prompt_tokens = static_cast<size_t>(conversation_.held() - before) - (reply.tokens - 1);
        reply.seconds = watch.seconds();
        return reply;
    }

private:
    SpeechExample example_of(const std::string& text, const ChatClip* clip) const {
        SpeechExample turn =
            clip ? make_example(system_, clip->file, clip->samples, text) : make_example(system_, "", {}, text);
        turn.key = conversation_.turns();
        if (turn.key == 0) return turn;
        const ChatTemplate chat = chat_template_of(system_.preset.model.chat_template);
        PromptIds ids = prompt_ids(*system_.tokenizer, make_turn(chat, text, clip != nullptr));
        turn.ids.left = std::move(ids.left);
        turn.ids.right = std::move(ids.right);
        return turn;
    }

    System system_;
    SpeechConversation conversation_;
    AnswerOptions options_;
};

}  // namespace

std::unique_ptr<ChatPartner> make_speech_partner(const ChatOptions& o) {
    for (const auto& [flag, value] : {std::pair{"--model", &o.model},
                                      {"--whisper", &o.whisper},
                                      {"--language", &o.language},
                                      {"--chat-template", &o.chat_template},
                                      {"--system-prompt", &o.system_prompt}})
        if (!value->empty())
            throw UsageError(
                "chat: {} has no meaning for --system wavllm: its adapter names the models it was trained on", flag);
    return std::make_unique<SpeechPartner>(o);
}

}  // namespace wavllm
