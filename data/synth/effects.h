#pragma once
// What happens to speech between the speaker and the file: speed, room, noise, bandwidth, level.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/philox.h"

namespace wavllm {

/// How often (0 to 1) a clip gets each effect.
struct EffectShares {
    double room = 0.35;
    double noise = 0.35;
    double band = 0.1;
    double quiet = 0.07;
};

/// The effects of one clip. All values are drawn by draw_effects and stand in the clip's file name by describe().
struct Effects {
    double room = 0;          ///< reverberation time RT60 in seconds (0.15 to 0.6); 0: none
    double room_level = 0;    ///< energy of the reverberation over that of the direct sound, in dB (-18 to -3)
    double noise_ratio = 0;   ///< speech level over noise level, in dB (8 to 30), where there is noise
    double noise_colour = 0;  ///< pole of the filter that colours it: 0 white, 0.97 nearly brown; below 0: no noise
    double band = 0;          ///< low-pass in Hz (3,200 to 7,000: telephones and small microphones); 0: none
    double level = -24;       ///< level of the speech in dB of full scale (see speech_level)
    uint64_t seed = 0;        ///< of the noise's and the room's samples

    std::string describe() const;
};

/// Draws from (seed, "<purpose>.effects", clip). Levels: normal around -24 dB with deviation 5, within -38 to -14; the
/// share `quiet` evenly from -52 to -38 (some real recordings have peaks below 0.01).
Effects draw_effects(uint64_t seed, std::string_view purpose, uint32_t clip, const EffectShares& shares);

/// In this order: room, noise, band, level (peaks stay below 0.97). The length stays. samples: mono at kSampleRate.
void apply_effects(std::vector<float>& samples, const Effects& effects);

/// Band-limited resampling from one rate to another (soxr, high quality); the ratio may be any. Gives
/// round(n * to / from) samples. Throws Error if soxr fails.
std::vector<float> resample(std::span<const float> samples, double from, double to);

/// Cuts what is silent (40 dB below the loudest 10 ms) at both ends but for `lead` and `trail` seconds, or adds silence
/// up to that. samples: at kSampleRate. Samples without any sound become none.
void trim_silence(std::vector<float>& samples, double lead, double trail);

/// RMS in dB of full scale over the frames of 10 ms that lie within 30 dB of the loudest; -120 for silence.
double speech_level(std::span<const float> samples);

}  // namespace wavllm
