#include "data/pauses.h"

#include "data/audio.h"
#include "tensor/error.h"

namespace wavllm {

std::vector<std::span<const float>> cut_at_pauses(std::span<const float> samples, double longest) {
    if (!(longest >= 1)) throw UsageError("cut_at_pauses: parts of at most {} s; expected at least 1", longest);
    constexpr size_t kStep = kSampleRate / 50, kSteps = 10;  // energies of 20 ms, ten of them together
    const auto most = static_cast<size_t>(longest * kSampleRate);
    std::vector<std::span<const float>> parts;
    while (samples.size() > most) {
        std::vector<double> energies;  // from half of `most` on
        for (size_t at = most / 2; at + kStep <= most; at += kStep) {
            double sum = 0;
            for (size_t i = 0; i < kStep; ++i) sum += static_cast<double>(samples[at + i]) * samples[at + i];
            energies.push_back(sum);
        }
        size_t quietest = 0;
        double least = std::numeric_limits<double>::infinity();
        for (size_t i = 0; i + kSteps <= energies.size(); ++i) {
            double sum = 0;
            for (size_t j = 0; j < kSteps; ++j) sum += energies[i + j];
            if (sum < least) {
                least = sum;
                quietest = i;
            }
        }
        const size_t cut = most / 2 + (quietest + kSteps / 2) * kStep;
        parts.push_back(samples.first(cut));
        samples = samples.subspan(cut);
    }
    parts.push_back(samples);
    return parts;
}

}  // namespace wavllm
