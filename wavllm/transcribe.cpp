// wavllm transcribe: speech to text, by Whisper alone or by a WavLLM that was trained here.

#include <unistd.h>

#include <cstdio>

#include "data/audio.h"
#include "data/manifest.h"
#include "data/progress.h"
#include "infer/wer.h"
#include "infer/whisper_transcribe.h"
#include "tensor/text.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/speech.h"
#include "wavllm/support/stopwatch.h"
#include "wavllm/support/whisper_model.h"

namespace wavllm {

namespace {

using nlohmann::ordered_json;

struct Options {
    std::vector<std::string> files;
    std::string model = "whisper-base", adapter, prompt, manifest, language = "en", panels = "auto";
    int64_t batch = 8, max_tokens = 224;
    bool as_json = false;
};

struct Clip {
    std::string id, reference;
    std::vector<float> samples;

    double seconds() const {
        return static_cast<double>(samples.size()) / kSampleRate;
    }
};

/// A transcript of one line: what Whisper says begins with a space.
std::string trimmed(const std::string& text) {
    const size_t first = text.find_first_not_of(" \n"), last = text.find_last_not_of(" \n");
    return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

void print_json(const ordered_json& json) {
    fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    std::fflush(stdout);
}

TranscribeOptions decoding(const Options& o) {
    TranscribeOptions result;
    result.language = o.language;
    result.max_tokens = o.max_tokens;
    result.batch = o.batch;
    return result;
}

void warn_if_cut(const std::string& id, const Transcript& t, int64_t max_tokens) {
    if (!t.complete)
        fmt::print(stderr, "wavllm: {}: a chunk has more than {} tokens and was cut; see --max-tokens\n", printable(id),
                   max_tokens);
}

int transcribe_files(const Options& o) {
    // All files are read before the model is: a wrong one is reported at once.
    std::vector<Clip> clips;
    for (const std::string& file : o.files) clips.push_back({file, "", read_audio(file)});
    const WhisperModel model = load_whisper_model(o.model, frozen_dtype(o.panels));
    const bool live = isatty(STDOUT_FILENO) != 0 && !o.as_json;
    for (const Clip& clip : clips) {
        const Stopwatch watch;
        TranscribeOptions options = decoding(o);
        bool first = true;
        if (live)
            options.stream = [&](size_t, std::string_view text) {
                if (first && text.starts_with(' ')) text.remove_prefix(1);
                if (!text.empty() && first && clips.size() > 1) fmt::print("{}: ", printable(clip.id));
                first = first && text.empty();
                std::fwrite(text.data(), 1, text.size(), stdout);
                std::fflush(stdout);
            };
        const Transcript t = transcribe(model.whisper, *model.tokenizer, clip.samples, options);
        if (o.as_json)
            print_json({{"file", clip.id},
                        {"text", trimmed(t.text)},
                        {"audio_seconds", clip.seconds()},
                        {"seconds", watch.seconds()},
                        {"complete", t.complete}});
        else if (live)
            std::fputs("\n", stdout);
        else
            fmt::print("{}{}\n", clips.size() > 1 ? printable(clip.id) + ": " : "", trimmed(t.text));
        std::fflush(stdout);
        warn_if_cut(clip.id, t, o.max_tokens);
    }
    return 0;
}

std::vector<Clip> read_clips(const std::vector<ManifestRow>& rows) {
    std::vector<Clip> clips;
    Progress bar("reading", static_cast<int64_t>(rows.size()), "rows");
    int64_t done = 0;
    for (const ManifestRow& row : rows) {
        bar.update(++done);
        if (!row.with_speech) continue;
        const AudioSpan span{row.start_frame.value_or(0), row.end_frame.value_or(AudioSpan::kToEnd)};
        clips.push_back({row.id, row.tgt_text, read_audio(row.audio.string(), kSampleRate, span)});
    }
    bar.finish();
    return clips;
}

ordered_json counts_json(const ErrorCounts& c) {
    return {{"rate", c.rate()},
            {"reference", c.reference},
            {"substitutions", c.substitutions},
            {"deletions", c.deletions},
            {"insertions", c.insertions}};
}

int transcribe_manifest(const Options& o) {
    const std::vector<ManifestRow> rows = read_manifest(o.manifest);
    check_audio_exists(rows);
    const std::vector<Clip> clips = read_clips(rows);
    if (clips.empty()) throw UsageError("{}: no row has speech", o.manifest);
    const WhisperModel model = load_whisper_model(o.model, frozen_dtype(o.panels));
    ErrorRates rates;
    double audio = 0;
    bool any_reference = false;
    const Stopwatch watch;
    Progress bar("transcribing", static_cast<int64_t>(clips.size()), "clips");
    for (size_t begin = 0; begin < clips.size(); begin += static_cast<size_t>(o.batch)) {
        const size_t end = std::min(clips.size(), begin + static_cast<size_t>(o.batch));
        std::vector<std::span<const float>> batch;
        for (size_t i = begin; i < end; ++i) batch.emplace_back(clips[i].samples);
        const auto transcripts = transcribe(model.whisper, *model.tokenizer, batch, decoding(o));
        for (size_t i = begin; i < end; ++i) {
            const Clip& clip = clips[i];
            const Transcript& t = transcripts[i - begin];
            const std::string text = trimmed(t.text);
            audio += clip.seconds();
            const bool scored = !clip.reference.empty();
            any_reference |= scored;
            if (scored) rates.add(clip.reference, text);
            if (o.as_json)
                print_json({{"id", clip.id}, {"reference", clip.reference}, {"text", text}, {"complete", t.complete}});
            else
                fmt::print("{}{}\n  {}\n", printable(clip.id), scored ? ": " + printable(clip.reference, 4000) : "",
                           printable(text, 4000));
            std::fflush(stdout);
            warn_if_cut(clip.id, t, o.max_tokens);
        }
        bar.update(static_cast<int64_t>(end));
    }
    bar.finish();
    const double seconds = watch.seconds();
    if (o.as_json) {
        print_json({{"clips", clips.size()},
                    {"audio_seconds", audio},
                    {"seconds", seconds},
                    {"wer_raw", counts_json(rates.words)},
                    {"wer_normalized", counts_json(rates.normal_words)},
                    {"cer_raw", counts_json(rates.characters)},
                    {"cer_normalized", counts_json(rates.normal_characters)}});
        return 0;
    }
    if (any_reference)
        fmt::print("\nraw:        {}\nnormalised: {}\n", format_rates(rates.words, rates.characters),
                   format_rates(rates.normal_words, rates.normal_characters));
    fmt::print("{} clips, {} of audio in {}\n", clips.size(), format_duration(audio), format_duration(seconds));
    return 0;
}

/// The files' answers from a trained adapter, to the instruction it was trained on unless another is given.
int answer_files(const Options& o) {
    if (!o.manifest.empty())
        throw UsageError(
            "transcribe: --adapter takes sound files; for a manifest use wavllm eval --adapter {} --manifest {}",
            o.adapter, o.manifest);
    std::vector<std::vector<float>> clips;
    for (const std::string& file : o.files) clips.push_back(read_audio(file));
    const System system = load_adapter_system(o.adapter);
    const std::string& prompt = o.prompt.empty() ? system.preset.data.prompt : o.prompt;
    for (size_t i = 0; i < clips.size(); ++i) {
        const SpeechExample example = make_example(system, o.files[i], clips[i], prompt);
        const SpeechExample* one[] = {&example};
        const std::string text =
            answer(*system.model, *system.tokenizer, one, {.max_new_tokens = system.preset.data.max_new_tokens})[0]
                .text;
        if (o.as_json)
            print_json({{"file", o.files[i]}, {"prompt", prompt}, {"text", text}, {"audio_seconds", example.seconds}});
        else
            fmt::print("{}{}\n", clips.size() > 1 ? printable(o.files[i]) + ": " : "", text);
        std::fflush(stdout);
    }
    return 0;
}

int transcribe_command(const Options& o) {
    if (o.files.empty() == o.manifest.empty())
        throw UsageError("transcribe: give sound files (- is stdin), or --manifest FILE");
    if (!o.adapter.empty()) return answer_files(o);
    if (o.batch < 1) throw UsageError("--batch {}: must be at least 1", o.batch);
    return o.manifest.empty() ? transcribe_files(o) : transcribe_manifest(o);
}

WAVLLM_COMMAND(transcribe,
               {"transcribe", "speech to text: sound files, stdin, or a whole manifest with its error rates",
                "wavllm transcribe samples/digits/0_george_0.flac", [](CLI::App& app) {
                    auto o = std::make_shared<Options>();
                    app.add_option("files", o->files, "wav, flac, ogg or mp3; - reads stdin");
                    app.add_option("--manifest", o->manifest, "TSV or JSONL; ends with WER and CER");
                    app.add_option("--model", o->model,
                                   "whisper-base, whisper-tiny (English), a CTranslate2 or Hugging Face "
                                   "folder (whisper-base)");
                    app.add_option("--adapter", o->adapter,
                                   "a trained adapter.safetensors: its WavLLM answers instead");
                    app.add_option("--prompt", o->prompt, "instruction for --adapter (default: the one of its preset)");
                    app.add_option("--language", o->language, "spoken language, Whisper's code (en)");
                    app.add_option("--batch", o->batch, "chunks decoded together (8)");
                    app.add_option("--max-tokens", o->max_tokens, "of a chunk of 30 s (224)");
                    app.add_option("--panels", o->panels,
                                   "frozen weights: f32, bf16, or bf16 where the CPU multiplies it (auto)")
                        ->check(CLI::IsMember({"auto", "f32", "bf16"}));
                    app.add_flag("--json", o->as_json, "one JSON object a line");
                    return [o] { return transcribe_command(*o); };
                }});

}  // namespace

}  // namespace wavllm
