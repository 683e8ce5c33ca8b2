#include "data/synth/clip_store.h"

#include "data/audio.h"
#include "data/flac.h"
#include "data/sha256.h"
#include "data/synth/processes.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"

namespace wavllm {

namespace {

namespace fs = std::filesystem;

constexpr size_t kNameDigits = 20;

class Maker {
public:
    explicit Maker(const ClipWork& work) : work_(work) {}

    std::vector<StoredClip> run() {
        run_in_processes(
            {.jobs = work_.jobs,
             .next = [&](int64_t item) { return next(item); },
             .work = [&](int64_t item) { return make(item_clip_[static_cast<size_t>(item)]); },
             .done = [&](int64_t item, int64_t frames) { done(item, frames); },
             .name = [&](int64_t item) { return clip(item_clip_[static_cast<size_t>(item)]).file.string(); }});
        drop_what_is_beyond();
        return std::move(clips_);
    }

private:
    StoredClip& clip(int64_t i) {
        return clips_[static_cast<size_t>(i)];
    }

    /// Plans clips up to the next that has to be made; false if there are enough.
    bool next(int64_t item) {
        while (!work_.enough(count_ + running_, seconds_ + running_seconds_)) {
            if (planned_ == static_cast<int64_t>(clips_.size())) plan();
            const int64_t i = planned_++;
            if (clip(i).frames > 0) {
                count(clip(i).frames, true);
                continue;
            }
            ++running_;
            running_seconds_ += work_.expected_seconds(i);
            item_clip_.resize(static_cast<size_t>(item) + 1);
            item_clip_.back() = i;
            return true;
        }
        return false;
    }

    void plan() {
        const std::string key = work_.key(static_cast<int64_t>(clips_.size()));
        StoredClip c;
        c.name = sha256_bytes(std::as_bytes(std::span(key))).substr(0, kNameDigits);
        c.file = work_.folder / "audio" / c.name.substr(0, 2) / (c.name + ".flac");
        // Files are put in place whole, so a header that can be read stands for a file that can.
        c.frames = flac_length(c.file, kSampleRate);
        clips_.push_back(std::move(c));
    }

    int64_t make(int64_t i) {
        const std::vector<float> samples = work_.samples(i);
        if (samples.empty()) return 0;
        fs::create_directories(clip(i).file.parent_path());
        AtomicFile file(clip(i).file, Durability::process);
        file.write(encode_flac16(samples, kSampleRate));
        file.commit();
        return static_cast<int64_t>(samples.size());
    }

    void done(int64_t item, int64_t frames) {
        const int64_t i = item_clip_[static_cast<size_t>(item)];
        --running_;
        running_seconds_ -= work_.expected_seconds(i);
        clip(i).frames = frames;
        clip(i).made = frames > 0;
        if (frames > 0) count(frames, false);
    }

    void count(int64_t frames, bool was_there) {
        const double seconds = static_cast<double>(frames) / kSampleRate;
        ++count_;
        seconds_ += seconds;
        old_count_ += was_there;
        old_seconds_ += was_there ? seconds : 0;
        work_.progress(count_, seconds_, old_count_, old_seconds_);
    }

    void drop_what_is_beyond() {
        int64_t n = 0, frames = 0;
        size_t keep = 0;
        while (keep < clips_.size() && !work_.enough(n, static_cast<double>(frames) / kSampleRate)) {
            n += clips_[keep].frames > 0;
            frames += clips_[keep].frames;
            ++keep;
        }
        for (size_t i = keep; i < clips_.size(); ++i)
            if (clips_[i].made) fs::remove(clips_[i].file);
        clips_.resize(keep);
    }

    const ClipWork& work_;
    std::vector<StoredClip> clips_;
    std::vector<int64_t> item_clip_;  ///< clip of each item that has or had a process
    int64_t planned_ = 0, count_ = 0, old_count_ = 0, running_ = 0;
    double seconds_ = 0, old_seconds_ = 0, running_seconds_ = 0;
};

}  // namespace

std::vector<StoredClip> make_clips(const ClipWork& work) {
    return Maker(work).run();
}

}  // namespace wavllm
