#include "data/check/check.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "data/audio.h"
#include "data/check/word_runs.h"
#include "data/manifest.h"
#include "data/sha256.h"
#include "tensor/error.h"
#include "tensor/thread_pool.h"

namespace wavllm {

namespace {

using Kind = DataProblem::Kind;
constexpr std::array<const char*, 3> kSplits = {"train", "valid", "test"};

struct Row {
    ManifestRow row;
    size_t split = 0;
    std::string audio_hash;  ///< empty where there is none
    int64_t frames = 0;
    std::string error;  ///< of reading the audio
};

std::string source_of(const ManifestRow& row) {
    const auto found = row.extra.find("source");
    return found == row.extra.end() ? "" : found->second;
}

std::string seconds(int64_t frames) {
    return fmt::format("{:.2f} s", static_cast<double>(frames) / kSampleRate);
}

std::vector<std::string> speakers_of(const ManifestRow& row) {
    std::vector<std::string> names;
    std::string_view rest = row.speaker;
    while (!rest.empty()) {
        const size_t bar = rest.find('|');
        if (bar != 0) names.emplace_back(rest.substr(0, bar));
        rest = bar == std::string_view::npos ? std::string_view{} : rest.substr(bar + 1);
    }
    return names;
}

class Check {
public:
    explicit Check(const DataCheckOptions& o) : o_(o) {
        const std::array<const std::vector<std::filesystem::path>*, 3> files = {&o.train, &o.valid, &o.test};
        for (size_t s = 0; s < files.size(); ++s)
            for (const auto& file : *files[s])
                for (ManifestRow& row : read_manifest(file)) rows_.push_back({std::move(row), s, {}, 0, {}});
        if (rows_.empty())
            throw UsageError("data check: no manifest was given; name some with --train, --valid, --test");
    }

    DataCheckReport run() {
        listen();
        for (const Row& r : rows_) look_at(r);
        find_shared([](const Row& r) { return std::vector<std::string>{r.audio_hash}; }, Kind::audio_leak,
                    "the same audio");
        find_shared([&](const Row& r) { return speaker_keys(r.row); }, Kind::speaker_leak, "speaker");
        find_shared_texts();
        summarize();
        std::stable_sort(report_.problems.begin(), report_.problems.end(),
                         [](const DataProblem& a, const DataProblem& b) { return a.kind < b.kind; });
        return std::move(report_);
    }

private:
    void report(Kind kind, const Row& r, std::string what) {
        report_.problems.push_back({kind, r.row.where, r.row.id, std::move(what)});
    }

    /// Decodes everything, on all threads.
    void listen() {
        std::mutex mutex;
        int64_t done = 0;
        parallel_for(static_cast<int64_t>(rows_.size()), 1, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) listen(rows_[static_cast<size_t>(i)]);
            const std::lock_guard lock(mutex);
            done += end - begin;
            if (o_.progress) o_.progress(done, static_cast<int64_t>(rows_.size()));
        });
    }
    static void listen(Row& r) {
        if (!r.row.with_speech) return;
        try {
            const std::vector<float> samples =
                read_audio(r.row.audio.string(), kSampleRate,
                           {r.row.start_frame.value_or(0), r.row.end_frame.value_or(AudioSpan::kToEnd)});
            r.frames = static_cast<int64_t>(samples.size());
            r.audio_hash = sha256_bytes(std::as_bytes(std::span(samples)));
        } catch (const Error& error) {
            r.error = error.what();
        }
    }

    void look_at(const Row& r) {
        if (!r.error.empty()) report(Kind::unreadable, r, r.error);
        if (r.frames > 0 && r.row.n_frames && std::llabs(*r.row.n_frames - r.frames) > 1)
            report(Kind::wrong_length, r,
                   fmt::format("n_frames is {} ({}); the audio has {} samples at 16 kHz ({})", *r.row.n_frames,
                               seconds(*r.row.n_frames), r.frames, seconds(r.frames)));
        if (r.frames > 0 && !r.row.n_frames) report(Kind::wrong_length, r, "n_frames is missing");
        if (comparison_words(r.row.tgt_text).empty()) report(Kind::empty_text, r, "tgt_text has no words");
        const auto [first, is_new] = ids_[r.split].emplace(r.row.id, r.row.where);
        if (!is_new) report(Kind::duplicate_id, r, fmt::format("the id stands already at {}", first->second));
    }

    std::vector<std::string> speaker_keys(const ManifestRow& row) const {
        std::vector<std::string> keys;
        for (const std::string& name : speakers_of(row))
            keys.push_back(o_.speakers_by_corpus ? fmt::format("{}/{}", corpus_of(source_of(row)), name) : name);
        return keys;
    }

    /// Reports each key that stands in more than one split once for each later split, at its first row there.
    template <class Keys>
    void find_shared(Keys&& keys, Kind kind, const std::string& name) {
        std::unordered_map<std::string, std::array<const Row*, 3>> first;
        std::vector<std::string> order;
        for (const Row& r : rows_)
            for (const std::string& key : keys(r)) {
                if (key.empty()) continue;
                const auto [at, is_new] = first.try_emplace(key);
                if (is_new) order.push_back(key);
                if (!at->second[r.split]) at->second[r.split] = &r;
            }
        for (const std::string& key : order) {
            const auto& in = first.at(key);
            for (size_t s = 1; s < in.size(); ++s)
                for (size_t other = 0; in[s] && other < s; ++other)
                    if (in[other])
                        report(kind, *in[s],
                               fmt::format("{} is in {} and in {}: {} ({})",
                                           kind == Kind::speaker_leak ? fmt::format("{} {}", name, key) : name,
                                           kSplits[other], kSplits[s], in[other]->row.id, in[other]->row.where));
        }
    }

    /// Reports each row that shares a run with an earlier split; train is compared with valid and test, valid with test.
    void find_shared_texts() {
        for (size_t s = 1; s < kSplits.size(); ++s) {
            WordRuns runs;  // of the later split, which is the smaller one
            for (size_t i = 0; i < rows_.size(); ++i)
                if (rows_[i].split == s) runs.add(rows_[i].row.tgt_text, static_cast<int64_t>(i));
            for (const Row& r : rows_)
                if (const auto hit = r.split < s ? runs.find(r.row.tgt_text) : std::nullopt) {
                    const Row& other = rows_[static_cast<size_t>(hit->owner)];
                    report(Kind::text_leak, r,
                           fmt::format("\"{}\" is in {} and in {}: {} ({})", hit->run, kSplits[r.split], kSplits[s],
                                       other.row.id, other.row.where));
                }
        }
    }

    void summarize() {
        std::array<std::set<std::string>, 3> speakers, sources;
        std::array<std::unordered_set<std::string>, 3> types;
        for (size_t s = 0; s < kSplits.size(); ++s) report_.splits[s].name = kSplits[s];
        for (const Row& r : rows_) {
            SplitSummary& split = report_.splits[r.split];
            const double length = static_cast<double>(r.frames) / kSampleRate;
            ++split.rows;
            split.hours += length / 3600;
            split.longest = std::max(split.longest, length);
            split.rows_without_speaker += r.row.speaker.empty();
            const std::string corpus = corpus_of(source_of(r.row));
            for (const std::string& name : speakers_of(r.row))
                speakers[r.split].insert(fmt::format("{}/{}", corpus, name));
            sources[r.split].insert(corpus);
            for (std::string& word : comparison_words(r.row.tgt_text)) {
                ++split.words;
                types[r.split].insert(std::move(word));
            }
        }
        for (size_t s = 0; s < kSplits.size(); ++s) {
            report_.splits[s].speakers = static_cast<int64_t>(speakers[s].size());
            report_.splits[s].sources.assign(sources[s].begin(), sources[s].end());
            report_.splits[s].word_types = static_cast<int64_t>(types[s].size());
        }
    }

    const DataCheckOptions& o_;
    std::vector<Row> rows_;
    std::array<std::unordered_map<std::string, std::string>, 3> ids_;
    DataCheckReport report_;
};

}  // namespace

const char* name_of(Kind kind) {
    constexpr std::array<const char*, 7> kNames = {"speaker leak", "text leak",  "audio leak",  "unreadable",
                                                   "wrong length", "empty text", "duplicate id"};
    return kNames[static_cast<size_t>(kind)];
}

std::string corpus_of(const std::string& source) {
    std::string corpus = source.substr(0, source.find('/'));
    for (char& c : corpus)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return corpus;
}

DataCheckReport check_data(const DataCheckOptions& options) {
    const auto begin = std::chrono::steady_clock::now();
    DataCheckReport report = Check(options).run();
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return report;
}

}  // namespace wavllm
