// wavllm chat: a conversation in text with a language model.

#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "data/chat_template.h"
#include "infer/beam_search.h"
#include "infer/generate.h"
#include "kernels/common/check.h"
#include "tensor/text.h"
#include "wavllm/command.h"
#include "wavllm/support/decode_flags.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/language_model.h"
#include "wavllm/support/stopwatch.h"

namespace wavllm {

namespace {

struct Options {
    std::string model = "smollm2-135m-instruct-q4_1", prompt, system, panels = "auto";
    int64_t max_tokens = 256, context = 2048;
    DecodeFlags decode;
    bool as_json = false;
};

struct Reply {
    std::string text;
    size_t prompt_tokens = 0, tokens = 0;
    double first_token = 0, seconds = 0;  // since the turn began
};

/// One conversation in ChatML. The KV cache holds all turns so far, so a turn costs its own tokens only.
class Conversation {
public:
    Conversation(const LanguageModel& model, const Options& options)
        : model_(model),
          decode_(with_overrides(Preset(), options.decode.overrides()).decode),
          max_tokens_(options.max_tokens),
          system_(options.system),
          cache_(model.llama.config(), 1, std::min(options.context, model.llama.config().max_positions),
                 model.llama.device()) {
        const auto end = model.tokenizer->id_of("<|im_end|>");
        if (!end || !model.tokenizer->is_special(*end))
            throw UsageError("--model {}: its tokenizer has no <|im_end|>; chat needs a model trained on ChatML",
                             printable(options.model));
        end_of_turn_ = *end;
    }

    /// Streams the reply to `out` as it comes, unless that is null.
    Reply say(const std::string& text, std::FILE* out) {
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
        Reply reply;
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
        for (const int32_t id : model_.tokenizer->encode("\n")) pending_.push_back(id);
        return reply;
    }

private:
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
        const auto append = [&](const std::vector<PromptPart>& parts) {
            Prompt prompt;
            prompt.left = parts;
            const auto more = prompt_ids(*model_.tokenizer, prompt).left;
            ids.insert(ids.end(), more.begin(), more.end());
        };
        if (ids.empty() && !system_.empty())
            append({{"<|im_start|>", true}, {"system\n"}, {system_}, {"<|im_end|>", true}, {"\n"}});
        append(make_prompt(ChatTemplate::chatml, text, false).left);
        return ids;
    }
    bool fits(const std::vector<int32_t>& ids) const {
        return held() + static_cast<int64_t>(ids.size()) + max_tokens_ <= cache_.capacity();
    }

    const LanguageModel& model_;
    decltype(Preset::decode) decode_;
    int64_t max_tokens_, turns_ = 0;
    std::string system_;
    KvCache cache_;
    int32_t end_of_turn_ = 0;
    std::vector<int32_t> pending_;
    std::vector<int32_t> history_;  // for beam search
};

nlohmann::ordered_json to_json(const std::string& prompt, const Reply& reply) {
    return {{"prompt", prompt},
            {"reply", reply.text},
            {"prompt_tokens", reply.prompt_tokens},
            {"reply_tokens", reply.tokens},
            {"first_token_seconds", reply.first_token},
            {"seconds", reply.seconds}};
}

int chat(const Options& options) {
    if (options.max_tokens < 1) throw UsageError("--max-tokens {}: must be at least 1", options.max_tokens);
    if (options.context <= options.max_tokens)
        throw UsageError("--context {}: must be larger than --max-tokens {}", options.context, options.max_tokens);
    const LanguageModel model = load_language_model(options.model, frozen_dtype(options.panels));
    Conversation conversation(model, options);
    const auto turn = [&](const std::string& text) {
        const Reply reply = conversation.say(text, options.as_json ? nullptr : stdout);
        if (options.as_json)
            fmt::print("{}\n", to_json(text, reply).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
        else
            std::fputs("\n", stdout);
        std::fflush(stdout);
    };
    if (!options.prompt.empty()) {
        turn(options.prompt);
        return 0;
    }
    const bool terminal = isatty(STDIN_FILENO) != 0;
    if (terminal) std::fputs("one line is one message; Ctrl-D ends\n", stderr);
    for (std::string line;;) {
        if (terminal) std::fputs("> ", stderr);
        if (!std::getline(std::cin, line)) break;
        if (line.find_first_not_of(" \t\r") != std::string::npos) turn(line);
    }
    if (terminal) std::fputs("\n", stderr);
    return 0;
}

WAVLLM_COMMAND(chat, {"chat", "talk with a language model in text: one prompt, or line by line from stdin",
                      "wavllm chat --prompt \"What is the capital of France?\"", [](CLI::App& app) {
                          auto o = std::make_shared<Options>();
                          app.add_option(
                              "--model", o->model,
                              "name in presets/sources.json, GGUF file or Hugging Face folder (" + o->model + ")");
                          app.add_option("--prompt", o->prompt, "one message; without it, one a line from stdin");
                          app.add_option("--system", o->system, "what stands before the conversation");
                          add_decode_flags(app, o->decode, false);
                          app.add_option("--max-tokens,--max-new-tokens", o->max_tokens, "of a reply (256)");
                          app.add_option("--context", o->context, "tokens of the whole conversation (2048)");
                          app.add_option("--panels", o->panels,
                                         "frozen weights: f32, bf16, or bf16 where the CPU multiplies it (auto)")
                              ->check(CLI::IsMember({"auto", "f32", "bf16"}));
                          app.add_flag("--json", o->as_json, "one JSON object a reply, one line each");
                          return [o] { return chat(*o); };
                      }});

}  // namespace

}  // namespace wavllm
