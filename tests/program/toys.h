#pragma once
// Data that a test makes for the program: sounds and sentences small enough to train on in a second.

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

#include "data/audio.h"
#include "tests/support/temp_folder.h"

namespace wavllm::tests {

/// A chirp of its own for each; every third is of the same speaker.
inline std::string recordings(const TempFolder& folder, const std::string& name, int count, double seconds,
                              const std::string& suffix = "") {
    std::string text = "id\taudio\tprompt\ttgt_text\twith_speech\tspeaker\ttask\n";
    for (int i = 0; i < count; ++i) {
        std::vector<float> samples(static_cast<size_t>((seconds + 0.01 * i) * kSampleRate));
        for (size_t n = 0; n < samples.size(); ++n) {
            const double t = static_cast<double>(n) / kSampleRate;
            samples[n] = static_cast<float>(0.3 * std::sin(900 * t * (1 + t) * (1 + i % 3) + i));
        }
        write_wav16(folder / fmt::format("{}{}.wav", name, i), samples);
        text +=
            fmt::format("c{}{}\t{}{}.wav\tWhat is it?\tchirp {}\ttrue\tbird{}\tasr\n", i, suffix, name, i, i, i % 3);
    }
    return folder.write(name + ".tsv", text).string();
}

/// A few short ones, one of them twice, and a number.
inline std::string sentences(const TempFolder& folder) {
    std::string text;
    for (const char* who : {"the cat", "a dog", "the bird", "one fish"})
        for (const char* does : {"sees", "hears", "finds"}) text += fmt::format("{} {} the other one.\n", who, does);
    return folder.write("text.txt", text + "the cat sees the other one.\n7\n").string();
}

}  // namespace wavllm::tests
