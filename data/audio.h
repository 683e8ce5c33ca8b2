#pragma once
// Sound files to mono f32 samples, and 16-bit wav files for tests and tools.

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace wavllm {

/// Samples per second of everything above this floor (Whisper and WavLM both hear 16 kHz).
constexpr int kSampleRate = 16000;

/// A part of a clip, in samples after resampling: [start, end). The default is the whole clip.
struct AudioSpan {
    static constexpr int64_t kToEnd = std::numeric_limits<int64_t>::max();
    int64_t start = 0;
    int64_t end = kToEnd;
};

/// Reads wav, flac, ogg (Vorbis, Opus) or mp3 of any channel count and any rate from 1 kHz to 768 kHz, from a file or,
/// for "-", from stdin, and returns mono samples in about [-1, 1] at target_rate Hz.
/// Channels are averaged. Integer samples are divided by full scale: a 16-bit sample s becomes exactly s / 32768.
/// n samples at another rate are resampled with soxr (high quality, one thread: always the same bits) to exactly
/// ceil(n * target_rate / rate) samples, of which span is returned.
/// Throws FileError (one line with the path): missing, unreadable, empty or cut file, not one of the four formats, no
/// samples, a NaN or infinite sample, a span outside the clip, more than 24 hours. Memory grows with what was decoded,
/// never with what a header announces.
std::vector<float> read_audio(const std::string& path, int target_rate = kSampleRate, AudioSpan span = {});

/// Writes a mono 16-bit wav file; samples are clipped to [-1, 1 - 1/32768] and rounded to nearest, so that reading
/// gives back every multiple of 1/32768 exactly. Throws FileError if the file cannot be written, or for a NaN sample.
void write_wav16(const std::string& path, std::span<const float> samples, int rate = kSampleRate);

}  // namespace wavllm
