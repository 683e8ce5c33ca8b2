// wavllm transcribe: speech to text, by a WavLLM that was trained here or by Whisper alone.

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "data/audio.h"
#include "data/manifest.h"
#include "data/progress.h"
#include "infer/wer.h"
#include "tensor/error.h"
#include "tensor/text.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/stopwatch.h"
#include "wavllm/support/transcriber.h"

namespace wavllm {

namespace {

using nlohmann::ordered_json;

struct Options {
    TranscriberOptions by;
    std::vector<std::string> files;
    std::string manifest;
    bool as_json = false;
};

struct Clip {
    std::string id, reference;
    std::vector<float> samples;

    double seconds() const {
        return static_cast<double>(samples.size()) / kSampleRate;
    }
};

void print_json(const ordered_json& json) {
    fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    std::fflush(stdout);
}

void warn_if_cut(const std::string& id, const Transcription& t) {
    if (!t.complete)
        fmt::print(stderr, "wavllm: {}: a part has more than {} tokens and was cut; see --max-tokens\n", printable(id),
                   t.limit);
}

int transcribe_files(const Options& o) {
    // All files are read before the model is: a wrong one is reported at once.
    std::vector<Clip> clips;
    for (const std::string& file : o.files) clips.push_back({file, "", read_audio(file)});
    const auto transcriber = make_transcriber(o.by);
    const bool live = isatty(STDOUT_FILENO) != 0 && !o.as_json;
    for (const Clip& clip : clips) {
        const Stopwatch watch;
        bool first = true;
        const Transcriber::Stream stream = [&](std::string_view text) {
            if (first && text.starts_with(' ')) text.remove_prefix(1);
            if (!text.empty() && first && clips.size() > 1) fmt::print("{}: ", printable(clip.id));
            first = first && text.empty();
            std::fwrite(text.data(), 1, text.size(), stdout);
            std::fflush(stdout);
        };
        const std::span<const float> one[] = {clip.samples};
        const Transcription t = transcriber->transcribe(one, live ? stream : Transcriber::Stream{})[0];
        if (o.as_json)
            print_json({{"file", clip.id},
                        {"text", t.text},
                        {"by", transcriber->name()},
                        {"audio_seconds", clip.seconds()},
                        {"seconds", watch.seconds()},
                        {"complete", t.complete}});
        else if (live)
            std::fputs("\n", stdout);
        else
            fmt::print("{}{}\n", clips.size() > 1 ? printable(clip.id) + ": " : "", t.text);
        std::fflush(stdout);
        warn_if_cut(clip.id, t);
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

int transcribe_manifest(const Options& o) {
    const std::vector<ManifestRow> rows = read_manifest(o.manifest);
    check_audio_exists(rows);
    const std::vector<Clip> clips = read_clips(rows);
    if (clips.empty()) throw UsageError("{}: no row has speech", o.manifest);
    const auto transcriber = make_transcriber(o.by);
    ErrorRates rates;
    double audio = 0;
    bool any_reference = false;
    const Stopwatch watch;
    Progress bar("transcribing", static_cast<int64_t>(clips.size()), "clips");
    const auto batch_size = static_cast<size_t>(o.by.batch);
    for (size_t begin = 0; begin < clips.size(); begin += batch_size) {
        const size_t end = std::min(clips.size(), begin + batch_size);
        std::vector<std::span<const float>> batch;
        for (size_t i = begin; i < end; ++i) batch.emplace_back(clips[i].samples);
        const auto transcripts = transcriber->transcribe(batch);
        for (size_t i = begin; i < end; ++i) {
            const Clip& clip = clips[i];
            const Transcription& t = transcripts[i - begin];
            audio += clip.seconds();
            const bool scored = !clip.reference.empty();
            any_reference |= scored;
            if (scored) rates.add(clip.reference, t.text);
            if (o.as_json)
                print_json(
                    {{"id", clip.id}, {"reference", clip.reference}, {"text", t.text}, {"complete", t.complete}});
            else
                fmt::print("{}{}\n  {}\n", printable(clip.id), scored ? ": " + printable(clip.reference, 4000) : "",
                           printable(t.text, 4000));
            std::fflush(stdout);
            warn_if_cut(clip.id, t);
        }
        bar.update(static_cast<int64_t>(end));
    }
    bar.finish();
    const double seconds = watch.seconds();
    if (o.as_json) {
        ordered_json j = {
            {"by", transcriber->name()}, {"clips", clips.size()}, {"audio_seconds", audio}, {"seconds", seconds}};
        add_rates(j, rates);
        print_json(j);
        return 0;
    }
    if (any_reference)
        fmt::print("\nraw:        {}\nnormalised: {}\n", format_rates(rates.words, rates.characters),
                   format_rates(rates.normal_words, rates.normal_characters));
    fmt::print("{}: {} clips, {} of audio in {}\n", transcriber->name(), clips.size(), format_duration(audio),
               format_duration(seconds));
    return 0;
}

int transcribe_command(const Options& o) {
    if (o.files.empty() == o.manifest.empty())
        throw UsageError("transcribe: give sound files (- is stdin), or --manifest FILE");
    if (o.by.batch < 1) throw UsageError("--batch {}: must be at least 1", o.by.batch);
    return o.manifest.empty() ? transcribe_files(o) : transcribe_manifest(o);
}

WAVLLM_COMMAND(transcribe,
               {"transcribe", "speech to text: sound files, stdin, or a whole manifest with its error rates",
                "wavllm transcribe samples/sentences/jfk.flac", [](cli::App& app) {
                    auto o = std::make_shared<Options>();
                    TranscriberOptions& by = o->by;
                    app.add_option("files", o->files, "wav, flac, ogg or mp3; - reads stdin");
                    app.add_option("--manifest", o->manifest, "TSV or JSONL; ends with WER and CER");
                    app.add_option("--adapter", by.adapter,
                                   "adapter.safetensors of a WavLLM (default: adapters/small)");
                    app.add_option("--head", by.head,
                                   "of the adapter: joint (LLM and CTC head together, the default), llm or ctc")
                        ->one_of({"llm", "ctc", "joint"});
                    app.add_option("--prompt", by.prompt, "another instruction for the adapter's LLM");
                    app.add_option("--model", by.model,
                                   "Whisper alone instead: whisper-base, whisper-tiny (English), a CTranslate2 or "
                                   "Hugging Face folder");
                    app.add_option("--language", by.language, "spoken language, Whisper's code (en)");
                    app.add_option("--batch", by.batch, "chunks that Whisper decodes together (8)");
                    add_decode_flags(app, by.decode, true);
                    app.add_option("--max-tokens,--max-new-tokens", by.max_tokens,
                                   "of a chunk: 30 s for Whisper, 20 s else (224)");
                    add_frozen(app, by.panels);
                    app.add_flag("--json", o->as_json, "one JSON object a line");
                    return [o] { return transcribe_command(*o); };
                }});

}  // namespace

}  // namespace wavllm
