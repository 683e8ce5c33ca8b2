// wavllm chat: a conversation with a language model in text, or about recordings with a WavLLM or a cascade.

#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "data/audio.h"
#include "tensor/error.h"
#include "tensor/text.h"
#include "wavllm/command.h"
#include "wavllm/support/chat_partner.h"
#include "wavllm/support/json_output.h"

namespace wavllm {

namespace {

struct Options {
    ChatOptions chat;
    std::string system, prompt;
    std::vector<std::string> speech;
    bool as_json = false;
};

std::unique_ptr<ChatPartner> make_partner(const Options& o) {
    const std::string system = !o.system.empty()                            ? o.system
                               : o.speech.empty() && o.chat.adapter.empty() ? "llm"
                                                                            : "wavllm";
    if (system == "cascade") return make_cascade_partner(o.chat);
    if (system == "wavllm") return make_speech_partner(o.chat);
    if (system != "llm")
        throw UsageError(
            "--system {}: the systems are llm, wavllm and cascade; text that stands before a conversation is "
            "--system-prompt",
            printable(o.system));
    if (!o.speech.empty()) throw UsageError("--speech: --system llm reads text only; use wavllm or cascade");
    return make_text_partner(o.chat);
}

/// One turn, printed.
void turn(ChatPartner& partner, const std::string& text, const ChatClip* clip, bool as_json) {
    const ChatReply reply = partner.say(text, clip, as_json ? nullptr : stdout);
    if (!as_json) {
        std::fputs("\n", stdout);
        if (!reply.transcript.empty()) fmt::print(stderr, "(heard: {})\n", printable(reply.transcript, 4000));
    } else {
        nlohmann::ordered_json j = {{"prompt", text}};
        if (clip) j["speech"] = clip->file;
        if (!reply.transcript.empty()) j["transcript"] = reply.transcript;
        j["reply"] = reply.text;
        j["prompt_tokens"] = reply.prompt_tokens;
        j["reply_tokens"] = reply.tokens;
        j["first_token_seconds"] = reply.first_token;
        j["seconds"] = reply.seconds;
        fmt::print("{}\n", j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    }
    std::fflush(stdout);
}

int chat(const Options& o) {
    if (o.chat.max_tokens < 1) throw UsageError("--max-tokens {}: must be at least 1", o.chat.max_tokens);
    if (o.chat.context <= o.chat.max_tokens)
        throw UsageError("--context {}: must be larger than --max-tokens {}", o.chat.context, o.chat.max_tokens);
    // All files are read before the models are: a wrong one is reported at once.
    std::vector<ChatClip> clips;
    for (const std::string& file : o.speech) {
        if (file == "-" && o.prompt.empty())
            throw UsageError("--speech -: stdin cannot bring sound and messages; give the message with --prompt");
        clips.push_back({file, read_audio(file)});
    }
    const auto partner = make_partner(o);
    if (!o.prompt.empty()) {
        if (clips.empty()) turn(*partner, o.prompt, nullptr, o.as_json);
        for (const ChatClip& clip : clips) turn(*partner, o.prompt, &clip, o.as_json);
        return 0;
    }
    const bool terminal = isatty(STDIN_FILENO) != 0;
    if (terminal) std::fputs("one line is one message; Ctrl-D ends\n", stderr);
    size_t next = 0;
    for (std::string line;;) {
        if (terminal) {
            if (next < clips.size()) fmt::print(stderr, "[{}] ", printable(clips[next].file));
            std::fputs("> ", stderr);
        }
        if (!std::getline(std::cin, line)) break;
        if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
        const ChatClip* clip = next < clips.size() ? &clips[next++] : nullptr;
        turn(*partner, line, clip, o.as_json);
    }
    if (terminal) std::fputs("\n", stderr);
    if (next < clips.size())
        throw UsageError("--speech {}: no message was left for this clip; each line of stdin goes with one",
                         printable(clips[next].file));
    return 0;
}

WAVLLM_COMMAND(
    chat,
    {"chat", "talk with a language model in text, or about recordings: one prompt, or line by line from stdin",
     "wavllm chat --prompt \"What is the capital of France?\"", [](cli::App& app) {
         auto o = std::make_shared<Options>();
         ChatOptions& c = o->chat;
         app.add_option("--system", o->system,
                        "who answers: llm (text), wavllm (hears), cascade (Whisper writes down, the LLM answers); "
                        "wavllm where --speech or --adapter is given, else llm");
         app.add_option("--speech", o->speech,
                        "recordings, one a turn, in order; with --prompt the same message goes with each");
         app.add_option("--prompt", o->prompt, "one message; without it, one a line from stdin");
         app.add_option("--model", c.model,
                        "LLM of llm and cascade: name in presets/sources.json, GGUF file or Hugging Face folder "
                        "(smollm2-135m-instruct-q4_1)");
         app.add_option("--chat-template", c.chat_template,
                        "of llm and cascade: chatml or llama2 (what the model's tokenizer was made for)");
         app.add_option("--adapter", c.adapter, "of wavllm: an adapter.safetensors (default: adapters/small)");
         app.add_option("--whisper", c.whisper, "of cascade, as --model of transcribe (whisper-base)");
         app.add_option("--language", c.language, "that Whisper hears in cascade (en)");
         app.add_option("--system-prompt", c.system_prompt, "what stands before a conversation of llm or cascade");
         add_decode_flags(app, c.decode, false);
         app.add_option("--lora-scale", c.decode.lora_scale,
                        "of wavllm: LoRA's strength, a multiple of the trained one (1)");
         app.add_option("--max-tokens,--max-new-tokens", c.max_tokens, "of a reply (256)");
         app.add_option("--context", c.context, "tokens of the whole conversation (2048)");
         add_frozen(app, c.panels);
         app.add_flag("--json", o->as_json, "one JSON object a reply, one line each");
         return [o] { return chat(*o); };
     }});

}  // namespace

}  // namespace wavllm
