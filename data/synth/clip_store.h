#pragma once
// A folder of clips that were made: each file is named by what its audio depends on, and is made once.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace wavllm {

struct StoredClip {
    std::string name;  ///< first 20 digits of the SHA-256 of its key
    std::filesystem::path file;
    int64_t frames = 0;  ///< at kSampleRate; 0: there is no such clip (too long, say)
    bool made = false;   ///< in this run
};

struct ClipWork {
    std::filesystem::path folder;  ///< files are folder/audio/xx/name.flac
    int jobs = 1;
    /// Plans clip i and returns all that its audio depends on. Called in order of i.
    std::function<std::string(int64_t i)> key;
    /// About how long clip i will be, in seconds; called after key(i).
    std::function<double(int64_t i)> expected_seconds;
    /// The samples of clip i at kSampleRate; runs in a process of its own. Empty: no such clip.
    std::function<std::vector<float>(int64_t i)> samples;
    /// Whether so many clips of so many seconds in all are enough.
    std::function<bool(int64_t clips, double seconds)> enough;
    /// What there is, and how much of it was there before.
    std::function<void(int64_t clips, double seconds, int64_t old_clips, double old_seconds)> progress;
};

/// Makes clips 0, 1, ... until the first of them are enough, and returns those, in order. Files appear whole or not at
/// all; those that are there are not made again. Which clips come back does not depend on the number of jobs, and
/// files that more jobs made beyond them are removed. Throws FileError, and what run_in_processes throws.
std::vector<StoredClip> make_clips(const ClipWork& work);

}  // namespace wavllm
