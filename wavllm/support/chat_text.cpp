#include "data/audio.h"
#include "data/chat_turn.h"
#include "infer/beam_search.h"
#include "infer/generate.h"
#include "kernels/common/check.h"
#include "tensor/text.h"
#include "wavllm/support/chat_partner.h"
#include "wavllm/support/language_model.h"
#include "wavllm/support/stopwatch.h"
#include "wavllm/support/transcriber.h"

namespace wavllm {

namespace {

std::string model_name(const ChatOptions& options) {
    return options.model.empty() ? "smollm2-135m-instruct-q4_1" : options.model;
}

/// One conversation, in ChatML or LLaMA-2's template. The KV cache holds all turns so far, so a turn costs its own tokens
/// only.
class TextPartner final : public ChatPartner {
public:
    explicit TextPartner(const ChatOptions& options)
        : model_(load_language_model(model_name(options), frozen_dtype(options.panels))),
          decode_(with_overrides({.name = "chat"}, options.decode.overrides()).decode),
          max_tokens_(options.max_tokens),
          system_(options.system_prompt),
          chat_(template_of(options)),
          cache_(model_.llama.config(), 1, std::min(options.context, model_.llama.config().max_positions),
                 model_.llama.device()) {
        options.decode.check_used(with_overrides({.name = "chat"}, options.decode.overrides()));
        end_of_turn_ = chat_ == ChatTemplate::chatml ? *special("<|im_end|>") : *model_.tokenizer->eos();
    }

    ChatReply say(const std::string& text, const ChatClip* clip, std::FILE* out) override {
        if (clip)
            throw UsageError("{}: this partner reads text only; --system wavllm or cascade hears",
                             printable(clip->file));
        std::vector<int32_t> ids = turn_ids(text);
        if (!fits(ids) && held() > 0) {
            std::fputs("(the conversation has filled its context; this turn begins a new one)\n", stderr);
            cache_.truncate(0, 0);
            history_.clear();
            pending_.clear();
            ids = turn_ids(text);
        }
        if (!fits(ids))
            throw UsageError("the message has {} tokens, but with --max-tokens {} and a context of {} it may have {}",
                             ids.size(), max_tokens_, cache_.capacity(), cache_.capacity() - max_tokens_);
        ChatReply reply;
        reply.prompt_tokens = ids.size();
        const Stopwatch watch;
        StreamDecoder decoder(*model_.tokenizer);
        const auto emit = [&](const std::string& piece) {
            reply.text += piece;
            if (!out) return;
            std::fwrite(piece.data(), 1, piece.size(), out);
            std::fflush(out);
        };
        const auto hear = [&](size_t, int32_t token) {
            if (reply.tokens++ == 0) reply.first_token = watch.seconds();
            emit(decoder.push(token));
            return true;
        };
        const std::vector<int32_t> tokens = decode_.beams > 1 ? search(ids) : draw(ids, hear);
        if (decode_.beams > 1)
            for (const int32_t token : tokens) hear(0, token);
        emit(decoder.finish());
        reply.seconds = watch.seconds();
        ++turns_;
        // What the next turn begins with: the last token, which is not in the cache yet, and the end of the turn.
        pending_ = {tokens.back()};
        if (pending_[0] != end_of_turn_) pending_.push_back(end_of_turn_);
        return reply;
    }

private:
    std::optional<int32_t> special(const char* token) const {
        const auto id = model_.tokenizer->id_of(token);
        return id && model_.tokenizer->is_special(*id) ? id : std::nullopt;
    }
    /// What the user names, or what the tokenizer was made for: one with <|im_end|> for ChatML, LLaMA's SentencePiece
    /// with <s> and </s> for LLaMA-2's.
    ChatTemplate template_of(const ChatOptions& o) const {
        const std::string name = printable(model_name(o));
        const bool chatml = special("<|im_end|>") && special("<|im_start|>"),
                   llama2 = model_.tokenizer->bos() && model_.tokenizer->eos();
        if (!o.chat_template.empty()) {
            const ChatTemplate chosen = chat_template_of(o.chat_template);
            if (!(chosen == ChatTemplate::chatml ? chatml : llama2))
                throw UsageError("--chat-template {}: the tokenizer of {} has no {}", o.chat_template, name,
                                 chosen == ChatTemplate::chatml ? "<|im_start|> and <|im_end|>" : "BOS and EOS");
            return chosen;
        }
        if (chatml) return ChatTemplate::chatml;
        if (llama2 && model_.tokenizer->text_rules().drop_first_space && special("<s>") == model_.tokenizer->bos() &&
            special("</s>") == model_.tokenizer->eos())
            return ChatTemplate::llama2;
        throw UsageError(
            "--model {}: its tokenizer has neither ChatML's <|im_end|> nor LLaMA-2's <s> and </s>; name the template "
            "that "
            "it was trained on with --chat-template, or measure this one with `wavllm perplexity`",
            name);
    }

    Tensor embedded(const std::vector<int32_t>& ids) const {
        return model_.llama.embed(Tensor::from(ids, {static_cast<int64_t>(ids.size())}));
    }
    /// Token by token, greedily or by drawing. A turn's draws are its own: the same question may get another answer.
    std::vector<int32_t> draw(const std::vector<int32_t>& ids, const std::function<bool(size_t, int32_t)>& hear) {
        GenerateOptions options{.max_new_tokens = max_tokens_,
                                .eos = end_of_turn_,
                                .sampling = {static_cast<float>(decode_.temperature), decode_.top_k,
                                             static_cast<float>(decode_.top_p), static_cast<uint64_t>(decode_.seed)},
                                .keys = {turns_},
                                .on_token = hear};
        const int64_t length[] = {std::ssize(ids)};
        return generate(model_.llama, embedded(ids), kernels::make_borders(length), cache_, options)[0].tokens;
    }
    /// By beam search, which reads the conversation from its beginning; the reply comes whole.
    std::vector<int32_t> search(const std::vector<int32_t>& ids) {
        history_.insert(history_.end(), ids.begin(), ids.end());
        BeamOptions options;
        options.beams = decode_.beams;
        options.length_penalty = decode_.length_penalty;
        options.max_new_tokens = max_tokens_;
        options.eos = end_of_turn_;
        const int64_t length[] = {std::ssize(history_)};
        std::vector<int32_t> tokens =
            beam_search(model_.llama, embedded(history_), kernels::make_borders(length), options)[0].front().tokens;
        history_.insert(history_.end(), tokens.begin(), tokens.end() - 1);  // the last one comes with the next turn
        return tokens;
    }
    int64_t held() const {
        return decode_.beams > 1 ? std::ssize(history_) : cache_.length(0);
    }

    std::vector<int32_t> turn_ids(const std::string& text) const {
        std::vector<int32_t> ids = pending_;
        Prompt prompt = ids.empty() ? make_prompt(chat_, text, false) : make_turn(chat_, text, false);
        if (ids.empty() && !system_.empty()) {
            if (chat_ == ChatTemplate::llama2)
                prompt.left.front().text = "[INST]<<SYS>>\n" + system_ + "\n<</SYS>>\n\n";
            else
                prompt.left.insert(prompt.left.begin(),
                                   {{"<|im_start|>", true}, {"system\n"}, {system_}, {"<|im_end|>", true}, {"\n"}});
        }
        const auto more = prompt_ids(*model_.tokenizer, prompt).left;
        ids.insert(ids.end(), more.begin(), more.end());
        return ids;
    }
    bool fits(const std::vector<int32_t>& ids) const {
        return held() + static_cast<int64_t>(ids.size()) + max_tokens_ <= cache_.capacity();
    }

    LanguageModel model_;
    decltype(Preset::decode) decode_;
    int64_t max_tokens_, turns_ = 0;
    std::string system_;
    ChatTemplate chat_;
    KvCache cache_;
    int32_t end_of_turn_ = 0;
    std::vector<int32_t> pending_;
    std::vector<int32_t> history_;  // for beam search
};

/// Whisper hears, the language model reads what it wrote down.
class CascadePartner final : public ChatPartner {
public:
    explicit CascadePartner(const ChatOptions& o)
        : ears_(make_transcriber({.model = o.whisper.empty() ? "whisper-base" : o.whisper,
                                  .language = o.language.empty() ? "en" : o.language,
                                  .panels = o.panels})),
          reader_(o) {}

    ChatReply say(const std::string& text, const ChatClip* clip, std::FILE* out) override {
        if (!clip) return reader_.say(text, nullptr, out);
        const Stopwatch watch;
        const std::span<const float> one[] = {clip->samples};
        const Transcription heard = ears_->transcribe(one)[0];
        if (!heard.complete)
            fmt::print(stderr, "wavllm: {}: a part of 30 s has more tokens than Whisper may write and was cut\n",
                       printable(clip->file));
        const double hearing = watch.seconds();
        ChatReply reply = reader_.say(cascade_message(heard.text, text), nullptr, out);
        reply.transcript = heard.text;
        reply.first_token += hearing;
        reply.seconds += hearing;
        return reply;
    }

private:
    std::unique_ptr<Transcriber> ears_;
    TextPartner reader_;
};

/// Throws for the first of these options that was given.
void refuse(const char* system, std::initializer_list<std::pair<const char*, bool>> given) {
    for (const auto& [flag, is_given] : given)
        if (is_given) throw UsageError("chat: {} has no meaning for --system {}", flag, system);
}

}  // namespace

std::string cascade_message(const std::string& transcript, const std::string& prompt) {
    return fmt::format("A recording says: \"{}\"\n\n{}", transcript, prompt);
}

std::unique_ptr<ChatPartner> make_text_partner(const ChatOptions& o) {
    refuse("llm", {{"--adapter", !o.adapter.empty()},
                   {"--whisper", !o.whisper.empty()},
                   {"--language", !o.language.empty()},
                   {"--lora-scale", o.decode.lora_scale.has_value()}});
    return std::make_unique<TextPartner>(o);
}

std::unique_ptr<ChatPartner> make_cascade_partner(const ChatOptions& o) {
    refuse("cascade", {{"--adapter", !o.adapter.empty()}, {"--lora-scale", o.decode.lora_scale.has_value()}});
    return std::make_unique<CascadePartner>(o);
}

}  // namespace wavllm
