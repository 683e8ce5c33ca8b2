#include "data/synth/clip_plan.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "data/audio.h"
#include "data/synth/engines.h"
#include "tensor/error.h"

namespace wavllm {

namespace {

constexpr double kShortClips = 8;  // seconds; half of the clips are meant to be below
constexpr std::array<const char*, 10> kDigits = {"zero", "one", "two",   "three", "four",
                                                 "five", "six", "seven", "eight", "nine"};

enum Draw : uint64_t { kEngine, kVoice, kTempo, kPitch, kSize, kLead, kTrail, kHalf, kLength };

/// Voice, manner and effects of clip i; words and lengths are still missing.
ClipPlan plan_speaker(const PlanOptions& o, uint32_t i) {
    const Philox random(o.seed, o.purpose, i);
    const auto within = [&](Draw draw, double low, double high) {
        const double x = low + (high - low) * static_cast<double>(random.uniform(draw));
        return std::round(x * 1000) / 1000;  // so that a file's name is made of numbers one can type
    };
    std::vector<Voice> pool;
    const SpeechEngine engine =
        static_cast<double>(random.uniform(kEngine)) < o.flite_share ? SpeechEngine::flite : SpeechEngine::espeak;
    for (const Voice& v : o.voices)
        if (v.engine == engine) pool.push_back(v);
    if (pool.empty()) pool = o.voices;
    ClipPlan plan;
    plan.voice =
        pool[static_cast<size_t>(static_cast<double>(random.uniform(kVoice)) * static_cast<double>(pool.size()))];
    plan.tempo = within(kTempo, o.slowest, o.fastest);
    plan.pitch = within(kPitch, 0.86, 1.16);
    plan.size = std::round(plan.voice.size * within(kSize, 0.97, 1.03) * 1000) / 1000;
    plan.lead = within(kLead, 0.08, 0.22);
    plan.trail = within(kTrail, 0.08, 0.22);
    plan.effects = draw_effects(o.seed, o.purpose, i, o.effects);
    return plan;
}

std::vector<float> played(const Speech& speech, double size, double lead, double trail) {
    std::vector<float> samples = resample(speech.samples, speech.rate * size, kSampleRate);
    trim_silence(samples, lead, trail);
    return samples;
}

}  // namespace

std::string ClipPlan::key() const {
    return fmt::format(
        "wavllm synth 1\n{}\n{} {}\ntempo {:.3f} pitch {:.3f} size {:.3f} ends {:.3f} {:.3f} from {} to {}\n{}\n{}",
        engine_versions(), voice.engine == SpeechEngine::flite ? "flite" : "espeak", voice.source, tempo, pitch, size,
        lead, trail, shortest, longest, effects.describe(), reading(text.words));
}

double ClipPlan::expected_seconds() const {
    return wavllm::expected_seconds(text.words) / (tempo * size);
}

ClipPlan plan_speech(const PlanOptions& o, uint32_t i, ClipTexts& texts, const WordRuns& avoid) {
    ClipPlan plan = plan_speaker(o, i);
    plan.shortest = o.min_seconds;
    plan.longest = o.max_seconds;
    const Philox random(o.seed, o.purpose, i);
    const bool one_range = o.max_seconds <= kShortClips || o.min_seconds >= kShortClips;
    const bool is_short = random.uniform(kHalf) < 0.5f;
    const double low = one_range || is_short ? o.min_seconds : kShortClips;
    const double high = one_range || !is_short ? o.max_seconds : kShortClips;
    const double seconds = low + (high - low) * static_cast<double>(random.uniform(kLength));
    plan.text = texts.next(seconds, plan.tempo * plan.size, avoid);
    return plan;
}

ClipPlan plan_digit(const PlanOptions& o, uint32_t i) {
    PlanOptions narrow = o;
    narrow.purpose += ".digits";
    narrow.effects.band = std::max(0.5, o.effects.band);
    ClipPlan plan = plan_speaker(narrow, i);
    plan.digit = true;
    plan.shortest = 0.1;
    plan.longest = 5;
    plan.text = {{{kDigits[i % kDigits.size()], '.'}}, "digits"};
    return plan;
}

std::vector<float> make_clip(const ClipPlan& plan) {
    const Speech speech = speak(plan.voice, reading(plan.text.words), plan.tempo, plan.pitch);
    if (speech.samples.empty()) return {};
    std::vector<float> samples = played(speech, plan.size, plan.lead, plan.trail);
    const auto longest = static_cast<size_t>(plan.longest * kSampleRate);
    if (samples.size() > longest) {
        const double faster = 1.01 * static_cast<double>(samples.size()) / static_cast<double>(longest);
        if (faster <= 1.2) samples = played(speech, plan.size * faster, plan.lead, plan.trail);
    }
    if (samples.size() > longest || static_cast<double>(samples.size()) < plan.shortest * kSampleRate) return {};
    apply_effects(samples, plan.effects);
    return samples;
}

}  // namespace wavllm
