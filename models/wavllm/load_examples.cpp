#include "models/wavllm/load_examples.h"

#include <chrono>
#include <deque>
#include <map>
#include <tuple>

#include "data/audio.h"
#include "data/manifest.h"
#include "models/sha256.h"
#include "tensor/philox.h"
#include "tensor/thread_pool.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

/// A part of an audio file; several rows may ask about the same.
struct Source {
    const ManifestRow* row;  // the first of them, for messages
    AudioSpan span;
    std::string key{};
    std::optional<CachedClip> cached{};
    EncodedClip clip{};  // without a cache

    int64_t samples() const {
        return cached ? cached->samples : clip.samples;
    }
    /// Before it is read, for the progress bar and the size of a group.
    double estimated_seconds() const {
        if (span.end != AudioSpan::kToEnd) return static_cast<double>(span.end - span.start) / kSampleRate;
        // not n_frames: manifests of the release carry wrong ones
        constexpr double kBytesPerSecond = 20000;  // flac of read speech at 16 kHz
        std::error_code ignored;
        return static_cast<double>(fs::file_size(row->audio, ignored)) / kBytesPerSecond;
    }
};

AudioSpan span_of(const ManifestRow& row) {
    AudioSpan span;
    if (row.start_frame) span.start = *row.start_frame;
    if (row.end_frame) span.end = *row.end_frame;
    return span;
}

/// Finds the sources' keys and what the cache has of them. Every audio file is hashed once.
void look_up(std::span<Source> sources, const FeatureCache& cache) {
    std::map<fs::path, std::string> hashes;
    for (const Source& s : sources) hashes[s.row->audio];
    std::vector<std::pair<const fs::path, std::string>*> files;
    files.reserve(hashes.size());
    for (auto& entry : hashes) files.push_back(&entry);
    parallel_for(static_cast<int64_t>(files.size()), 16, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            auto& [path, hash] = *files[static_cast<size_t>(i)];
            hash = sha256_file(path);
        }
    });
    parallel_for(static_cast<int64_t>(sources.size()), 16, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            Source& s = sources[static_cast<size_t>(i)];
            s.key = cache.key(hashes.find(s.row->audio)->second, s.span);
            s.cached = cache.find(s.key);
        }
    });
}

/// Encodes what is missing, group by group.
class Encoding {
public:
    Encoding(const System& system, const FeatureCache* cache, const EncodeProgress& progress)
        : system_(system), cache_(cache), progress_(progress) {}

    void run(std::span<Source> sources) {
        for (Source& s : sources)
            if (!s.cached) {
                missing_.push_back(&s);
                total_ += s.estimated_seconds();
            }
        if (progress_ && !missing_.empty()) progress_(0, total_);
        while (!missing_.empty()) encode(next_group());
        // Nothing is claimed here now, so to wait is safe. A process that ended without making the file left its claim.
        for (; !elsewhere_.empty(); elsewhere_.pop_front()) {
            claims_.push_back(cache_->claim(elsewhere_.front()->key));
            if (!made_meanwhile(*elsewhere_.front())) encode({elsewhere_.front()});
            claims_.clear();
        }
    }
    double encoded() const {
        return encoded_;
    }

private:
    // Clips lie end to end without padding between them, so their lengths need not be alike: a second of audio costs the
    // same in any group of 10 s or more. This much gives all threads something to do; more would only take more memory.
    // Reading and resampling is done by all threads at once: 0.2 to 0.6 ms a second of audio, a twentieth of encoding.
    static constexpr double kGroupSeconds = 60;

    bool made_meanwhile(Source& s) {
        s.cached = cache_->find(s.key);
        if (!s.cached) return false;
        total_ -= s.estimated_seconds();
        return true;
    }

    std::vector<Source*> next_group() {
        std::vector<Source*> group;
        for (double seconds = 0; seconds < kGroupSeconds && !missing_.empty(); missing_.pop_front()) {
            Source* s = missing_.front();
            if (cache_ != nullptr) {
                auto claim = cache_->try_claim(s->key);
                if (!claim) {
                    elsewhere_.push_back(s);
                    continue;
                }
                if (made_meanwhile(*s)) continue;
                claims_.push_back(std::move(*claim));
            }
            group.push_back(s);
            seconds += s->estimated_seconds();
        }
        return group;
    }

    void encode(const std::vector<Source*>& group) {
        if (group.empty()) return;
        const auto n = static_cast<int64_t>(group.size());
        std::vector<std::vector<float>> samples(group.size());
        parallel_for(n, 1, [&](int64_t i, int64_t) {
            const Source& s = *group[static_cast<size_t>(i)];
            try {
                std::vector<float>& clip = samples[static_cast<size_t>(i)];
                clip = read_audio(s.row->audio.string(), kSampleRate, s.span);
                if (system_.wavlm && system_.wavlm->config().frames(static_cast<int64_t>(clip.size())) < 1)
                    throw FileError("{} samples are too few: WavLM needs {} (25 ms); leave the row out", clip.size(),
                                    system_.wavlm->config().window());
            } catch (const FileError& problem) {
                throw FileError("{}: row \"{}\": {}", s.row->where, s.row->id, problem.what());
            }
        });
        const std::vector<std::span<const float>> views(samples.begin(), samples.end());
        std::vector<EncodedClip> clips = encode_clips(system_, views);
        parallel_for(n, 1, [&](int64_t i, int64_t) {
            Source& s = *group[static_cast<size_t>(i)];
            EncodedClip& clip = clips[static_cast<size_t>(i)];
            if (cache_ != nullptr)
                s.cached = cache_->put(s.key, clip);
            else
                s.clip = std::move(clip);
        });
        claims_.clear();
        for (const Source* s : group) {
            const double seconds = static_cast<double>(s->samples()) / kSampleRate;
            total_ += seconds - s->estimated_seconds();
            encoded_ += seconds;
        }
        if (progress_) progress_(encoded_, total_);
    }

    const System& system_;
    const FeatureCache* cache_;
    const EncodeProgress& progress_;
    std::deque<Source*> missing_, elsewhere_;
    std::vector<FeatureCache::Claim> claims_;
    double total_ = 0, encoded_ = 0;
};

}  // namespace

/// To be raised with every change of the code that turns samples into features (resampling, cutting into chunks, log-mel,
/// both encoders): the probe is one short clip, rounded to bf16, and does not tell every such change.
constexpr int kFeatureCode = 2;

std::string feature_fingerprint(const System& system) {
    constexpr size_t kProbe = 20011;  // samples: no round number of frames
    std::vector<float> samples(kProbe);
    const Philox noise(1, "feature_fingerprint", 0);
    for (size_t i = 0; i < kProbe; ++i) samples[i] = 0.2f * noise.uniform(i) - 0.1f;
    const std::span<const float> probe(samples);
    const EncodedClip clip = std::move(encode_clips(system, std::span(&probe, 1), WhisperPadding::tight).front());
    const auto digest = [](const Tensor& t) {
        return sha256_bytes({static_cast<const std::byte*>(t.raw()), t.bytes()});
    };
    std::string facts =
        fmt::format("code {}\nencoder {}\npadding {}\nprobe {}\n", kFeatureCode, system.encoder->fingerprint(),
                    system.preset.model.encoder_padding, digest(clip.features));
    if (system.wavlm) facts += fmt::format("wavlm {}\nprobe {}\n", system.wavlm->fingerprint(), digest(clip.acoustic));
    return sha256_bytes(std::as_bytes(std::span(facts)));
}

std::unique_ptr<FeatureCache> open_feature_cache(const System& system) {
    return std::make_unique<FeatureCache>(FeatureCache::default_folder(), feature_fingerprint(system));
}

std::vector<SpeechExample> load_examples(const System& system, std::span<const fs::path> manifests,
                                         const FeatureCache* cache, const EncodeProgress& progress,
                                         EncodeSummary* summary) {
    std::vector<ManifestRow> rows;
    for (const fs::path& manifest : manifests) {
        std::vector<ManifestRow> part = read_manifest(manifest);
        std::move(part.begin(), part.end(), std::back_inserter(rows));
    }
    check_audio_exists(rows);

    std::vector<Source> sources;
    std::vector<size_t> source_of(rows.size());
    std::map<std::tuple<fs::path, int64_t, int64_t>, size_t> known;
    for (size_t i = 0; i < rows.size(); ++i) {
        if (!rows[i].with_speech) continue;
        const AudioSpan span = span_of(rows[i]);
        const auto [at, is_new] = known.try_emplace({rows[i].audio, span.start, span.end}, sources.size());
        if (is_new) sources.push_back({.row = &rows[i], .span = span});
        source_of[i] = at->second;
    }
    if (cache != nullptr) look_up(sources, *cache);
    const auto from_cache = std::count_if(sources.begin(), sources.end(), [](const Source& s) { return s.cached; });
    const auto begin = std::chrono::steady_clock::now();
    Encoding encoding(system, cache, progress);
    encoding.run(sources);
    if (summary != nullptr) {
        const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
        *summary = {.clips = sources.size(),
                    .from_cache = static_cast<size_t>(from_cache),
                    .encoded = encoding.encoded(),
                    .wall = wall.count()};
        for (const Source& s : sources) {
            summary->seconds += static_cast<double>(s.samples()) / kSampleRate;
            if (s.cached) summary->cache_bytes += s.cached->bytes();
        }
    }

    std::vector<SpeechExample> examples;
    for (size_t i = 0; i < rows.size(); ++i) {
        const ManifestRow& row = rows[i];
        SpeechExample& e =
            examples.emplace_back(text_example(system, row.id, row.with_speech, row.prompt, row.tgt_text));
        e.key = static_cast<int64_t>(i);
        e.task = row.task;
        e.speaker = row.speaker;
        e.audio = row.audio;
        e.span = span_of(row);
        if (!row.with_speech) continue;
        const Source& s = sources[source_of[i]];
        e.seconds = static_cast<double>(s.samples()) / kSampleRate;
        e.chunk_rows = s.cached ? s.cached->chunk_rows : s.clip.chunk_rows;
        e.cached = s.cached;
        e.features = s.clip.features;
        e.acoustic = s.clip.acoustic;
    }
    return examples;
}

}  // namespace wavllm
