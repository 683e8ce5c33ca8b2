#include "wavllm/support/transcriber.h"

#include "data/audio.h"
#include "data/pauses.h"
#include "infer/whisper_transcribe.h"
#include "wavllm/support/home.h"
#include "wavllm/support/model_files.h"
#include "wavllm/support/speech.h"
#include "wavllm/support/whisper_model.h"

namespace wavllm {

namespace {

constexpr int64_t kMostTokens = 224;  // of a chunk, unless something says otherwise

std::string trimmed(const std::string& text) {
    const size_t first = text.find_first_not_of(" \n"), last = text.find_last_not_of(" \n");
    return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

class WhisperTranscriber final : public Transcriber {
public:
    explicit WhisperTranscriber(const TranscriberOptions& o)
        : model_(load_whisper_model(o.model, frozen_dtype(o.panels))), name_(o.model) {
        options_.language = o.language;
        options_.max_tokens = o.max_tokens.value_or(kMostTokens);
        options_.batch = o.batch;
    }

    std::vector<Transcription> transcribe(std::span<const std::span<const float>> clips,
                                          const Stream& stream) const override {
        TranscribeOptions options = options_;
        if (stream) options.stream = [&](size_t, std::string_view text) { stream(text); };
        std::vector<Transcription> result;
        for (const Transcript& t : wavllm::transcribe(model_.whisper, *model_.tokenizer, clips, options))
            result.push_back({trimmed(t.text), t.complete, options_.max_tokens});
        return result;
    }

    std::string name() const override {
        return fmt::format("Whisper ({})", name_);
    }

private:
    WhisperModel model_;
    std::string name_;
    TranscribeOptions options_;
};

class AdapterTranscriber final : public Transcriber {
public:
    AdapterTranscriber(const TranscriberOptions& o, const std::filesystem::path& file)
        : system_(load_adapter_system(file, o.panels)),
          file_(file.string()),
          prompt_(o.prompt.empty() ? system_.preset.data.prompt : o.prompt),
          head_(o.head) {
        const Preset preset = with_overrides(system_.preset, o.decode.overrides());
        const bool has_ctc = system_.model->ctc().defined(),
                   draws = o.decode.temperature || !o.decode.compat.empty() || preset.decode.temperature > 0 ||
                           preset.decode.begin_with_bos || preset.decode.count_prompt;
        if (head_.empty()) head_ = has_ctc && o.prompt.empty() && !draws ? "joint" : "llm";
        if (head_ != "llm" && draws)
            throw UsageError(
                "transcribe: --head {} finds the likeliest text; --temperature and --compat, by flag or by the "
                "adapter's "
                "preset, need --head llm",
                head_);
        if (head_ == "ctc" && o.decode.lora_scale)
            throw UsageError("transcribe: --lora-scale: LoRA is in the LLM, which --head ctc does not use");
        if (!o.prompt.empty() && head_ != "llm")
            throw UsageError("transcribe: --head {} always says what is spoken; --prompt needs --head llm", head_);
        o.decode.check_used(preset, head_);
        options_ = answer_options(preset);
        options_.beams = o.decode.beams.value_or(AnswerOptions().beams);
        if (o.max_tokens || o.decode.compat.empty()) options_.max_new_tokens = o.max_tokens.value_or(kMostTokens);
        if (o.max_tokens) options_.decoding.count_prompt = false;
    }

    std::vector<Transcription> transcribe(std::span<const std::span<const float>> clips,
                                          const Stream& stream) const override {
        std::vector<Transcription> result;
        for (const std::span<const float> clip : clips) {
            Transcription all;
            int64_t number = 0;
            for (const std::span<const float> part : cut_at_pauses(clip, kLongestPart)) {
                SpeechExample example = make_example(system_, "", part, prompt_);
                example.key = number++;
                const Answer a = answer_to(example);
                const std::string text = trimmed(a.text);
                if (!complete(a)) {
                    all.complete = false;
                    all.limit = limit_of(example);
                }
                if (text.empty()) continue;
                if (stream) stream((all.text.empty() ? "" : " ") + text);
                all.text += (all.text.empty() ? "" : " ") + text;
            }
            result.push_back(std::move(all));
        }
        return result;
    }

    std::string name() const override {
        return fmt::format("WavLLM ({}, {})", file_, head_);
    }

private:
    /// Seconds: what is longer than what it was trained on is heard in parts.
    static constexpr double kLongestPart = 20;

    /// Whether it ended by itself. The LLM alone ends with EOS; the CTC head has an end, and the joint search returns
    /// texts that ended, without their EOS, or one of all tokens.
    bool complete(const Answer& a) const {
        if (head_ == "ctc") return true;
        if (head_ == "joint") return static_cast<int64_t>(a.tokens.size()) < options_.max_new_tokens;
        return !a.tokens.empty() && a.tokens.back() == system_.tokenizer->eos();
    }

    /// Tokens that its answer may have.
    int64_t limit_of(const SpeechExample& example) const {
        const int64_t counted = options_.decoding.count_prompt ? std::ssize(example.ids.right) - 1 : 0;
        return std::max<int64_t>(0, options_.max_new_tokens - std::max<int64_t>(0, counted));
    }

    /// example.key: the part's number in the clip, which draws belong to.
    Answer answer_to(const SpeechExample& example) const {
        const SpeechExample* one[] = {&example};
        const Wavllm& model = *system_.model;
        if (head_ == "ctc") return answer_by_ctc(model, *system_.tokenizer, one)[0];
        if (head_ == "joint") return answer_jointly(model, *system_.tokenizer, one, options_)[0];
        return answer(model, *system_.tokenizer, one, options_)[0];
    }

    System system_;
    std::string file_, prompt_, head_;
    AnswerOptions options_;
};

}  // namespace

std::filesystem::path shipped_adapter() {
    return home_folder() / "adapters" / "small" / "adapter.safetensors";
}

std::unique_ptr<Transcriber> make_transcriber(const TranscriberOptions& o) {
    if (o.batch < 1) throw UsageError("--batch {}: must be at least 1", o.batch);
    if (o.max_tokens.value_or(1) < 1) throw UsageError("--max-tokens {}: must be at least 1", *o.max_tokens);
    if (!o.model.empty() && o.decode.any())
        throw UsageError(
            "transcribe: --model {} is Whisper alone, which decodes greedily; --temperature, --beams and "
            "what goes with them are for an adapter",
            o.model);
    if (o.model.empty())
        return std::make_unique<AdapterTranscriber>(o, o.adapter.empty() ? shipped_adapter().string() : o.adapter);
    for (const auto& [flag, value] : {std::pair{"--adapter", &o.adapter}, {"--head", &o.head}, {"--prompt", &o.prompt}})
        if (!value->empty())
            throw UsageError(
                "transcribe: {} is for an adapter, and --model {} is Whisper alone; leave --model out for "
                "the adapter that ships, or name another with --adapter",
                flag, o.model);
    return std::make_unique<WhisperTranscriber>(o);
}

}  // namespace wavllm
