#pragma once
// 16-bit FLAC, for speech that this program makes.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace wavllm {

/// Mono samples as the bytes of a 16-bit FLAC file; clipped to [-1, 1 - 1/32768] and rounded to nearest, so that
/// read_audio gives back every multiple of 1/32768 exactly. The same samples give the same bytes (with one libFLAC).
/// Throws Error for no samples, a NaN, or where libsndfile fails.
std::string encode_flac16(std::span<const float> samples, int rate);

/// Samples of a mono FLAC file at this rate, as its header says; 0 if it is missing or something else. Cheap: nothing
/// is decoded.
int64_t flac_length(const std::filesystem::path& path, int rate);

}  // namespace wavllm
