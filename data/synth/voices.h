#pragma once
// The voices of synthetic speech: a table.

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wavllm {

enum class SpeechEngine { flite, espeak };

struct Voice {
    std::string_view name;  ///< ours, for manifests; it is the speaker too
    SpeechEngine engine;
    std::string_view source;  ///< the engine's own name for the voice that this one is made from
    double size =
        1;  ///< played this much faster than spoken: pitch and formants go up together, as for a smaller person
};

/// All voices: recorded readers (flite: diphones of one, statistical models of three) in three sizes each, and formant
/// synthesis (espeak-ng) in eight accents of English.
std::span<const Voice> all_voices();

/// "all", or names separated by commas; a name that ends in '*' means every voice that begins like it ("flite-*"). In
/// the table's order, each once. Throws UsageError with the nearest name for one that is not there.
std::vector<Voice> find_voices(std::string_view list);

}  // namespace wavllm
