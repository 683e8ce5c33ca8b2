#pragma once
// The speech synthesisers: flite and espeak-ng, as libraries.

#include <string>
#include <vector>

#include "data/synth/voices.h"

namespace wavllm {

struct Speech {
    std::vector<float> samples;  ///< mono, in [-1, 1]
    int rate = 0;                ///< of the voice: 16,000 or 22,050 Hz
};

/// Loads both engines. Call it once in the parent before run_in_processes: each child then starts from the same state.
/// Throws FileError if espeak-ng does not find its data.
void load_engines();

/// Names and versions of both engines and of the way they are used: what a file's audio depends on besides its
/// parameters.
std::string engine_versions();

/// Speaks lower-case text with punctuation. tempo: 1 is the voice's own, 1.2 faster. pitch: 1 is the voice's own.
/// Voice::size is not applied here.
/// NOT repeatable in one process: both engines keep state from one utterance to the next (flite's excitation noise,
/// espeak's phases), so the same call gives the same samples only as the first one after load_engines(). Not
/// thread-safe. Throws UsageError if the engine lacks the voice.
Speech speak(const Voice& voice, const std::string& text, double tempo, double pitch);

}  // namespace wavllm
