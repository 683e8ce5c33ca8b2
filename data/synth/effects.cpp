#include "data/synth/effects.h"

#include <soxr.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "data/audio.h"
#include "tensor/error.h"

namespace wavllm {

namespace {

constexpr size_t kFrame = kSampleRate / 100;
constexpr double kSilence = -120;

double from_db(double db) {
    return std::pow(10.0, db / 20);
}

/// Mean square of each whole frame of 10 ms.
std::vector<double> frame_energies(std::span<const float> samples) {
    std::vector<double> energies(samples.size() / kFrame);
    for (size_t f = 0; f < energies.size(); ++f) {
        double sum = 0;
        for (size_t i = f * kFrame; i < (f + 1) * kFrame; ++i) sum += static_cast<double>(samples[i]) * samples[i];
        energies[f] = sum / kFrame;
    }
    return energies;
}

double loudest(const std::vector<double>& energies) {
    return energies.empty() ? 0 : *std::max_element(energies.begin(), energies.end());
}

/// Velvet noise (Karjalainen and Jarvelainen 2007: pulses of +1 and -1 at jittered places sound like noise and cost one
/// addition each) under an exponential decay of 60 dB in `room` seconds, after the direct sound.
void add_room(std::vector<float>& samples, const Effects& e) {
    const Philox random(e.seed, "effects.room", 0);
    const double first = 0.003 + 0.01 * static_cast<double>(random.uniform(0));
    const double last = std::min(e.room, 0.4);
    struct Pulse {
        size_t delay;
        double gain;
    };
    std::vector<Pulse> pulses;
    double energy = 0;
    uint64_t draw = 1;
    for (double t = first; t < last; draw += 2) {
        const double spacing = t < 0.06 ? 1.0 / 1000 : 1.0 / 500;
        const double at = t + spacing * static_cast<double>(random.uniform(draw));
        const double gain = std::pow(10.0, -3 * at / e.room) * (random.bits(draw + 1) & 1 ? 1 : -1);
        pulses.push_back({static_cast<size_t>(at * kSampleRate), gain});
        energy += gain * gain;
        t += spacing;
    }
    const double scale = energy > 0 ? from_db(e.room_level) / std::sqrt(energy) : 0;
    const size_t n = samples.size();
    std::vector<float> wet(n, 0.0f);
    for (const Pulse& p : pulses) {
        const auto gain = static_cast<float>(p.gain * scale);
        for (size_t i = p.delay; i < n; ++i) wet[i] += gain * samples[i - p.delay];
    }
    // walls take the high frequencies
    const auto pole = static_cast<float>(0.2 + 0.5 * static_cast<double>(random.uniform(draw)));
    float state = 0;
    for (size_t i = 0; i < n; ++i) {
        state += (1 - pole) * (wet[i] - state);
        samples[i] += state;
    }
}

void add_noise(std::vector<float>& samples, const Effects& e) {
    const Philox random(e.seed, "effects.noise", 0);
    std::vector<float> noise(samples.size());
    const auto pole = static_cast<float>(e.noise_colour);
    float state = 0;
    double energy = 0;
    for (size_t i = 0; i < noise.size(); i += 4) {
        const auto bits = random.block(i / 4);
        for (size_t k = 0; k < 4 && i + k < noise.size(); ++k) {
            // the sum of two uniform numbers: near enough to a normal one for noise
            const float white = static_cast<float>(bits[k] >> 16) + static_cast<float>(bits[k] & 0xFFFF) - 65535.0f;
            state = pole * state + white;
            noise[i + k] = state;
            energy += static_cast<double>(state) * static_cast<double>(state);
        }
    }
    if (energy <= 0) return;
    const double rms = std::sqrt(energy / static_cast<double>(noise.size()));
    const auto gain = static_cast<float>(from_db(speech_level(samples) - e.noise_ratio) / rms);
    for (size_t i = 0; i < samples.size(); ++i) samples[i] += gain * noise[i];
}

/// Butterworth low-pass of fourth order as two sections of second order (bilinear transform).
void low_pass(std::vector<float>& samples, double cut) {
    const double k = std::tan(std::numbers::pi * cut / kSampleRate);
    for (const double q : {0.54119610, 1.30656296}) {
        const double norm = 1 / (1 + k / q + k * k);
        const double b = k * k * norm, a1 = 2 * (k * k - 1) * norm, a2 = (1 - k / q + k * k) * norm;
        double s1 = 0, s2 = 0;
        for (float& x : samples) {
            const double y = b * static_cast<double>(x) + s1;
            s1 = 2 * b * static_cast<double>(x) - a1 * y + s2;
            s2 = b * static_cast<double>(x) - a2 * y;
            x = static_cast<float>(y);
        }
    }
}

void set_level(std::vector<float>& samples, double level) {
    const double now = speech_level(samples);
    if (now <= kSilence) return;
    float peak = 0;
    for (const float s : samples) peak = std::max(peak, std::fabs(s));
    const auto gain = static_cast<float>(std::min(from_db(level - now), 0.97 / static_cast<double>(peak)));
    for (float& s : samples) s *= gain;
}

}  // namespace

std::string Effects::describe() const {
    return fmt::format("room {:.4f} {:.3f} noise {:.3f} {:.4f} band {:.1f} level {:.3f} seed {}", room, room_level,
                       noise_ratio, noise_colour, band, level, seed);
}

Effects draw_effects(uint64_t seed, std::string_view purpose, uint32_t clip, const EffectShares& shares) {
    const Philox random(seed, std::string(purpose) + ".effects", clip);
    const auto u = [&](uint64_t index) { return static_cast<double>(random.uniform(index)); };
    Effects e;
    e.seed = random.bits(0);
    if (u(1) < shares.room) {
        e.room = 0.15 + 0.45 * u(2);
        e.room_level = -18 + 15 * u(3);
    }
    e.noise_colour = -1;
    if (u(4) < shares.noise) {
        e.noise_ratio = 8 + 22 * u(5);
        e.noise_colour = 0.97 * u(6);
    }
    if (u(7) < shares.band) e.band = 3200 + 3800 * u(8);
    // normal() and uniform() share the stream's bits: normal(8) uses those of 16 to 19
    e.level = u(9) < shares.quiet ? -52 + 14 * u(10)
                                  : std::clamp(-24 + 5 * static_cast<double>(random.normal(8)), -38.0, -14.0);
    return e;
}

void apply_effects(std::vector<float>& samples, const Effects& e) {
    if (e.room > 0) add_room(samples, e);
    if (e.noise_colour >= 0) add_noise(samples, e);
    if (e.band > 0) low_pass(samples, e.band);
    set_level(samples, e.level);
}

std::vector<float> resample(std::span<const float> samples, double from, double to) {
    const auto wanted = static_cast<size_t>(std::llround(static_cast<double>(samples.size()) * to / from));
    std::vector<float> in(samples.begin(), samples.end());
    in.resize(in.size() + static_cast<size_t>(from / to) + 2);  // soxr may round the length down
    std::vector<float> out(wanted + 64 + static_cast<size_t>(4 * to / from));
    const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
    const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
    const soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
    size_t used = 0, made = 0;
    if (soxr_error_t error = soxr_oneshot(from, to, 1, in.data(), in.size(), &used, out.data(), out.size(), &made, &io,
                                          &quality, &runtime))
        throw Error("resampling from {} to {} Hz failed: {}", from, to, error);
    if (made < wanted) throw Error("resampling from {} to {} Hz gave {} of {} samples", from, to, made, wanted);
    out.resize(wanted);
    return out;
}

void trim_silence(std::vector<float>& samples, double lead, double trail) {
    const std::vector<double> energies = frame_energies(samples);
    const double threshold = loudest(energies) * 1e-4;
    if (threshold <= 0) {
        samples.clear();
        return;
    }
    const auto sounds = [&](double energy) { return energy > threshold; };
    const auto first = std::find_if(energies.begin(), energies.end(), sounds) - energies.begin();
    const auto behind = energies.rend() - std::find_if(energies.rbegin(), energies.rend(), sounds);
    const auto begin = static_cast<int64_t>(first * static_cast<int64_t>(kFrame)) - std::llround(lead * kSampleRate);
    const auto end = static_cast<int64_t>(behind * static_cast<int64_t>(kFrame)) + std::llround(trail * kSampleRate);
    std::vector<float> out(static_cast<size_t>(end - begin), 0.0f);
    const int64_t from = std::max<int64_t>(0, begin), to = std::min<int64_t>(static_cast<int64_t>(samples.size()), end);
    std::copy(samples.begin() + from, samples.begin() + to, out.begin() + (from - begin));
    samples = std::move(out);
}

double speech_level(std::span<const float> samples) {
    const std::vector<double> energies = frame_energies(samples);
    const double threshold = loudest(energies) * 1e-3;
    double sum = 0, frames = 0;
    for (const double e : energies)
        if (e > threshold) {
            sum += e;
            ++frames;
        }
    return frames > 0 ? std::max(kSilence, 10 * std::log10(sum / frames)) : kSilence;
}

}  // namespace wavllm
