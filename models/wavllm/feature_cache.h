#pragma once
// Features of the frozen encoder on disk: encoding is most of what a run costs before its first step, and its result
// depends on nothing that training changes. One file a clip, <folder>/<first two digits of the key>/<key>.features.
// Of WavLM every hidden state is kept, for how much of each layer is wanted is trained: with WavLM-base 13 x 768 numbers
// a frame, 1.0 MB a second of audio (3.6 GB an hour), where Whisper base takes 51 kB and Whisper-large-v2 128 kB.
// Nothing is ever evicted; the folder may be deleted whenever no run reads from it.

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/audio.h"
#include "tensor/tensor.h"

namespace wavllm {

/// What the frozen encoder makes of one clip. Features are always rounded to bf16, also where no cache is in use: a run
/// computes on the same bits, and ends in the same adapter, with and without it.
struct EncodedClip {
    Tensor features;                  ///< [T, C] bf16, cut to the clip's own frames, chunks end to end
    std::vector<int64_t> chunk_rows;  ///< rows of each chunk
    int64_t samples = 0;              ///< length of the clip at 16 kHz
    Tensor acoustic{};                ///< [layers, T2, C2] bf16, WavLM's hidden states; undefined without WavLM
};

/// A clip whose features lie in a file that was found right; they are read when a batch needs them, and the system's
/// page cache keeps what is read often.
struct CachedClip {
    std::filesystem::path file;
    std::vector<int64_t> chunk_rows;
    int64_t samples = 0;
    int64_t rows = 0, channels = 0;
    Shape acoustic{0, 0, 0};  ///< layers, T2 and C2 of WavLM's hidden states; zeros without

    /// Features as f32 to `to`, rows * channels of them; where `acoustic_to` is given WavLM's hidden states go there, one
    /// layer `layer_stride` numbers behind the other. Throws FileError if the file is gone or was damaged since it was
    /// found (a damaged one is removed, so that the next run makes it again).
    void copy_features(float* to, float* acoustic_to = nullptr, int64_t layer_stride = 0) const;
    /// Of both, in the file.
    int64_t bytes() const;
};

/// The cache of one encoder. Any number of threads and processes may use one folder at once. A file appears whole or
/// not at all, whenever a process is killed; one that is cut short, damaged, of another version or under a wrong name
/// is removed with a warning and counts as missing. Sizes are compared with the file's before anything is allocated.
class FeatureCache {
public:
    using Warn = std::function<void(const std::string& line)>;

    /// fingerprint: of all that turns samples into features (feature_fingerprint in models/wavllm/system.h). The folder
    /// is made if it is missing; throws FileError if it cannot be. warn: by default a line on stderr.
    FeatureCache(std::filesystem::path folder, std::string fingerprint, Warn warn = {});
    ~FeatureCache();
    FeatureCache(const FeatureCache&) = delete;
    FeatureCache& operator=(const FeatureCache&) = delete;

    /// $WAVLLM_CACHE/features, by default ~/.cache/wavllm/features.
    static std::filesystem::path default_folder();

    /// Under which name a part of an audio file goes: SHA-256 over the SHA-256 of the file's bytes, the span and the
    /// fingerprint, as 64 hexadecimal digits.
    std::string key(std::string_view audio_sha256, AudioSpan span) const;
    std::filesystem::path path_of(const std::string& key) const;

    /// Reads and checks the whole file.
    std::optional<CachedClip> find(const std::string& key) const;
    /// Throws FileError if the file cannot be written; for a full disk it says how much is free and the way out.
    CachedClip put(const std::string& key, const EncodedClip& clip) const;

    /// The right to make the file of one key, held against other processes until it is destroyed or the process ends.
    /// Where a file system has no locks every claim is granted: then two processes may make the same file twice.
    class Claim {
    public:
        Claim() = default;
        ~Claim();
        Claim(Claim&& other) noexcept;
        Claim& operator=(Claim&& other) noexcept;

    private:
        friend class FeatureCache;
        Claim(int fd, int64_t at) : fd_(fd), at_(at) {}
        int fd_ = -1;
        int64_t at_ = 0;
    };
    /// Nothing if another process holds it. After a claim look again: the other may just have made the file.
    std::optional<Claim> try_claim(const std::string& key) const;
    /// Waits for the other process. Hold no other claim meanwhile, or two processes may wait for each other.
    Claim claim(const std::string& key) const;

    const std::filesystem::path& folder() const {
        return folder_;
    }

private:
    std::filesystem::path folder_;
    std::string fingerprint_;
    Warn warn_;
    int claims_ = -1;  // one file whose bytes are locked, a byte a key: nothing to tidy up after a killed process
};

}  // namespace wavllm
