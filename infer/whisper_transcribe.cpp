#include "infer/whisper_transcribe.h"

#include <algorithm>
#include <optional>

#include "kernels/common/check.h"
#include "kernels/log_mel/log_mel.h"
#include "models/whisper/features.h"

namespace wavllm {

namespace {

int32_t special(const Tokenizer& tokenizer, const std::string& token) {
    if (const auto id = tokenizer.id_of(token)) return *id;
    throw FileError("the tokenizer has no token {}: it is not Whisper's; give the model's own tokenizer.json", token);
}

/// 30 s of a clip.
struct Chunk {
    size_t clip;
    std::span<const float> samples;
    std::vector<int32_t> ids{};
    StreamDecoder decoder;
    std::string text{};
    bool finished = false, complete = true;
};

class Batch {
public:
    Batch(const Whisper& model, const Tokenizer& tokenizer, const TranscribeOptions& options)
        : model_(model),
          options_(options),
          prompt_(whisper_prompt(model.config(), tokenizer, options.language)),
          end_(special(tokenizer, "<|endoftext|>")),
          mel_filters_(kernels::make_mel_filters(model.config().mels).to(model.encoder.device())) {
        const int64_t most = model.config().max_target_positions - static_cast<int64_t>(prompt_.size());
        if (options.max_tokens < 1 || options.max_tokens > most)
            throw UsageError("max_tokens = {} is out of range: this Whisper has room for 1 to {} tokens a chunk",
                             options.max_tokens, most);
        if (options.batch < 1) throw UsageError("batch = {} is out of range; at least 1", options.batch);
    }

    /// after_step is called whenever texts grew.
    template <class F>
    void run(std::span<Chunk> chunks, F&& after_step) {
        const auto slots = static_cast<int64_t>(chunks.size());
        const WhisperConfig& config = model_.config();
        if (!cache_ || cache_->slots() != slots)
            cache_.emplace(config, slots, static_cast<int64_t>(prompt_.size()) + options_.max_tokens,
                           config.max_source_positions, model_.encoder.device());
        std::vector<int64_t> active, lengths(chunks.size(), static_cast<int64_t>(prompt_.size()));
        std::vector<int32_t> next;
        for (int64_t i = 0; i < slots; ++i) {  // one after the other: a chunk fills the cores, and memory stays small
            const std::span<const float> clip[] = {chunks[static_cast<size_t>(i)].samples};
            const WhisperFeatures f = whisper_features(clip, mel_filters_, WhisperPadding::whole);
            model_.decoder.listen(*cache_, i, model_.encoder.forward(f.mel, f.borders));
            active.push_back(i);
            next.insert(next.end(), prompt_.begin(), prompt_.end());
        }
        const Tensor borders = kernels::make_borders(lengths);
        Tensor hidden = last_rows(model_.decoder.prefill(*cache_, active, ids(next), borders), borders);
        while (true) {
            next = take(model_.decoder.logits(hidden).to(Device::cpu), chunks, active);
            after_step();
            if (active.empty()) return;
            hidden = model_.decoder.step(*cache_, active, ids(next));
        }
    }

private:
    static Tensor ids(const std::vector<int32_t>& v) {
        return Tensor::from(v, {static_cast<int64_t>(v.size())});
    }

    static Tensor last_rows(const Tensor& hidden, const Tensor& borders) {
        const int64_t n = borders.numel() - 1, d = hidden.dim(1);
        Tensor rows = Tensor::empty({n, d}, hidden.dtype(), hidden.device());
        for (int64_t i = 0; i < n; ++i) rows.select(0, i).assign(hidden.select(0, borders.data<int64_t>()[i + 1] - 1));
        return rows;
    }

    /// Hands each active chunk its likeliest token (the first of equal ones) and drops those that end. Returns the
    /// tokens of the ones that go on.
    std::vector<int32_t> take(const Tensor& logits, std::span<Chunk> chunks, std::vector<int64_t>& active) const {
        std::vector<int64_t> still;
        std::vector<int32_t> next;
        const int64_t vocab = logits.dim(1);
        for (size_t i = 0; i < active.size(); ++i) {
            const float* row = logits.data<float>() + static_cast<int64_t>(i) * vocab;
            const auto id = static_cast<int32_t>(std::max_element(row, row + vocab) - row);
            Chunk& chunk = chunks[static_cast<size_t>(active[i])];
            const bool ended = id == end_;
            if (!ended) {
                chunk.ids.push_back(id);
                chunk.text += chunk.decoder.push(id);
            }
            chunk.complete = ended || static_cast<int64_t>(chunk.ids.size()) < options_.max_tokens;
            chunk.finished = ended || !chunk.complete;
            if (chunk.finished) {
                chunk.text += chunk.decoder.finish();
                continue;
            }
            still.push_back(active[i]);
            next.push_back(id);
        }
        active = std::move(still);
        return next;
    }

    const Whisper& model_;
    const TranscribeOptions& options_;
    std::vector<int32_t> prompt_;
    int32_t end_;
    Tensor mel_filters_;
    std::optional<WhisperCache> cache_;
};

/// Gives each clip's text to the stream in order, though its chunks are written at the same time.
class Streamer {
public:
    Streamer(const std::vector<Chunk>& chunks, const TranscribeOptions& options)
        : chunks_(chunks), given_(chunks.size(), 0), options_(options) {}

    void operator()() {
        if (!options_.stream) return;
        for (size_t i = 0; i < chunks_.size(); ++i) {
            const bool turn = i == 0 || chunks_[i - 1].clip != chunks_[i].clip || chunks_[i - 1].finished;
            if (!turn || given_[i] == chunks_[i].text.size()) continue;
            options_.stream(chunks_[i].clip, std::string_view(chunks_[i].text).substr(given_[i]));
            given_[i] = chunks_[i].text.size();
        }
    }

private:
    const std::vector<Chunk>& chunks_;
    std::vector<size_t> given_;
    const TranscribeOptions& options_;
};

}  // namespace

std::vector<int32_t> whisper_prompt(const WhisperConfig& config, const Tokenizer& tokenizer,
                                    const std::string& language) {
    std::vector<int32_t> prompt = {special(tokenizer, "<|startoftranscript|>")};
    if (config.multilingual()) {
        // languages stand between <|startoftranscript|> and the tasks, whatever else is special
        const auto id = tokenizer.id_of("<|" + language + "|>");
        const int32_t tasks = std::min(special(tokenizer, "<|translate|>"), special(tokenizer, "<|transcribe|>"));
        if (!id || !tokenizer.is_special(*id) || *id <= prompt[0] || *id >= tasks)
            throw UsageError("Whisper knows no language \"{}\"; give a code such as \"en\", \"de\" or \"zh\"",
                             language);
        prompt.push_back(*id);
        prompt.push_back(special(tokenizer, "<|transcribe|>"));
    } else if (language != "en") {
        throw UsageError("this Whisper knows only English, but the language \"{}\" was asked for", language);
    }
    prompt.push_back(special(tokenizer, "<|notimestamps|>"));
    for (const int32_t id : prompt)
        if (id >= config.vocab)
            throw FileError("the tokenizer's token {} is not among the model's {}: they do not belong together", id,
                            config.vocab);
    return prompt;
}

std::vector<Transcript> transcribe(const Whisper& model, const Tokenizer& tokenizer,
                                   std::span<const std::span<const float>> clips, const TranscribeOptions& options) {
    constexpr size_t kSamples = kernels::kMelChunkFrames * kernels::kMelHop;
    std::vector<Chunk> chunks;
    for (size_t i = 0; i < clips.size(); ++i) {
        if (clips[i].empty()) throw UsageError("clip {} of {} has no samples", i + 1, clips.size());
        for (size_t at = 0; at < clips[i].size(); at += kSamples)
            chunks.push_back({.clip = i,
                              .samples = clips[i].subspan(at, std::min(kSamples, clips[i].size() - at)),
                              .decoder = StreamDecoder(tokenizer)});
    }
    Batch batch(model, tokenizer, options);
    Streamer stream(chunks, options);
    const auto most = static_cast<size_t>(options.batch);
    for (size_t at = 0; at < chunks.size(); at += most)
        batch.run(std::span(chunks).subspan(at, std::min(most, chunks.size() - at)), stream);
    std::vector<Transcript> result(clips.size());
    for (const Chunk& chunk : chunks) {
        Transcript& t = result[chunk.clip];
        t.ids.insert(t.ids.end(), chunk.ids.begin(), chunk.ids.end());
        t.text += chunk.text;
        t.complete = t.complete && chunk.complete;
    }
    return result;
}

Transcript transcribe(const Whisper& model, const Tokenizer& tokenizer, std::span<const float> clip,
                      const TranscribeOptions& options) {
    const std::span<const float> clips[] = {clip};
    return std::move(transcribe(model, tokenizer, clips, options).front());
}

}  // namespace wavllm
