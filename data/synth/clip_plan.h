#pragma once
// One synthetic clip: what is spoken, by whom, how, and where.

#include <cstdint>
#include <string>
#include <vector>

#include "data/synth/clip_texts.h"
#include "data/synth/effects.h"
#include "data/synth/voices.h"

namespace wavllm {

struct ClipPlan {
    ClipText text;
    bool digit = false;
    Voice voice{};
    double tempo = 1, pitch = 1;        ///< as PlanOptions say, and 0.86 to 1.16
    double size = 1;                    ///< Voice::size and up to 3 % of the clip's own: speed perturbation
    double lead = 0.15, trail = 0.15;   ///< silence at the ends, in seconds
    double shortest = 0, longest = 30;  ///< seconds; what is outside is no clip
    Effects effects;

    /// All that the audio depends on, engine versions included, as text.
    std::string key() const;
    double expected_seconds() const;
};

/// What the plans of one set are drawn from.
struct PlanOptions {
    uint64_t seed = 1;
    std::string purpose = "synth.train";  ///< of the random numbers: sets have streams of their own
    std::vector<Voice> voices;
    double flite_share = 0.65;  ///< of the clips, where both engines have a voice here
    double min_seconds = 1, max_seconds = 30;
    EffectShares effects;
    double slowest = 0.8, fastest = 1.28;  ///< tempo
};

/// Plan of clip i: half of them are meant to be shorter than 8 s (evenly from min_seconds), the rest evenly up to
/// max_seconds.
ClipPlan plan_speech(const PlanOptions& options, uint32_t i, ClipTexts& texts, const WordRuns& avoid);
/// Plan of clip i: the digit i % 10, as a word. Half of them or more with a narrow band, as on a telephone.
ClipPlan plan_digit(const PlanOptions& options, uint32_t i);

/// The samples of a clip at kSampleRate: speech, played at its size, trimmed, with its effects. Empty if it is shorter
/// or longer than it may be, or nothing can be heard; up to a fifth too long it is played faster instead. To be called
/// in a process of its own (see speak).
std::vector<float> make_clip(const ClipPlan& plan);

}  // namespace wavllm
