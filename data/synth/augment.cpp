#include "data/synth/augment.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "data/audio.h"
#include "data/manifest.h"
#include "data/manifest_writer.h"
#include "data/progress.h"
#include "data/sha256.h"
#include "data/synth/clip_store.h"
#include "tensor/error.h"

namespace wavllm {

namespace {

constexpr const char* kPurpose = "augment";

std::vector<float> recording(const ManifestRow& row) {
    return read_audio(row.audio.string(), kSampleRate,
                      {row.start_frame.value_or(0), row.end_frame.value_or(AudioSpan::kToEnd)});
}

}  // namespace

AugmentReport augment(const AugmentOptions& o) {
    if (o.manifest.empty()) throw UsageError("--manifest is missing: name the manifest whose recordings to copy");
    if (o.out.empty()) throw UsageError("--out is missing: name the folder for audio and manifest");
    if (o.copies < 1) throw UsageError("--copies is {}; expected 1 or more", o.copies);
    if (!(o.slowest >= 0.5 && o.slowest <= o.fastest && o.fastest <= 2))
        throw UsageError("speeds from {} to {} are asked for; expected 0.5 <= slowest <= fastest <= 2", o.slowest,
                         o.fastest);
    std::vector<ManifestRow> rows = read_manifest(o.manifest);
    std::erase_if(rows, [](const ManifestRow& r) { return !r.with_speech; });
    if (rows.empty()) throw FileError("{}: no row has speech", o.manifest.string());
    check_audio_exists(rows);
    std::filesystem::create_directories(o.out);

    const auto n = static_cast<int64_t>(rows.size());
    const auto row_of = [&](int64_t i) -> const ManifestRow& { return rows[static_cast<size_t>(i % n)]; };
    const auto speed_of = [&](int64_t i) {
        const Philox random(o.seed, "augment.speed", static_cast<uint32_t>(i));
        const double speed = o.slowest + (o.fastest - o.slowest) * static_cast<double>(random.uniform(0));
        return std::round(speed * 1000) / 1000;
    };
    const auto effects_of = [&](int64_t i) {
        return draw_effects(o.seed, kPurpose, static_cast<uint32_t>(i), o.effects);
    };
    std::map<int64_t, std::string> content;  // of recordings, by row: asked for once, although each has several copies
    const auto content_of = [&](int64_t row) -> const std::string& {
        std::string& hash = content[row];
        if (hash.empty()) {
            const std::vector<float> samples = recording(row_of(row));
            hash = sha256_bytes(std::as_bytes(std::span(samples)));
        }
        return hash;
    };
    Progress bar("augment", n * o.copies, "clips");
    const std::vector<StoredClip> clips =
        make_clips({.folder = o.out,
                    .jobs = o.jobs,
                    .key =
                        [&](int64_t i) {
                            return fmt::format("wavllm augment 1\n{}\nspeed {:.3f}\n{}", content_of(i % n), speed_of(i),
                                               effects_of(i).describe());
                        },
                    .expected_seconds = [](int64_t) { return 1.0; },
                    .samples =
                        [&](int64_t i) {
                            std::vector<float> samples =
                                resample(recording(row_of(i)), kSampleRate * speed_of(i), kSampleRate);
                            apply_effects(samples, effects_of(i));
                            return samples;
                        },
                    .enough = [&](int64_t count, double) { return count >= n * o.copies; },
                    .progress =
                        [&](int64_t count, double, int64_t old, double) {
                            bar.resume_at(old);
                            bar.update(count);
                        }});
    bar.finish();

    AugmentReport report{o.out / "augmented.tsv", n, static_cast<int64_t>(clips.size()), 0, 0};
    std::vector<ManifestRow> copies;
    for (int64_t i = 0; i < report.clips; ++i) {
        const StoredClip& clip = clips[static_cast<size_t>(i)];
        ManifestRow row = row_of(i);
        row.id += fmt::format("-a{}", i / n + 1);
        row.audio = clip.file;
        row.n_frames = clip.frames;
        row.start_frame.reset();
        row.end_frame.reset();
        copies.push_back(std::move(row));
        report.made += clip.made;
        report.hours += static_cast<double>(clip.frames) / kSampleRate / 3600;
    }
    write_manifest(report.manifest, copies);
    return report;
}

}  // namespace wavllm
