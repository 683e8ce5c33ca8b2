#pragma once
// Sentences to texts of wanted lengths.

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "data/synth/text.h"

namespace wavllm {

struct ClipText {
    SpokenWords words;
    std::string source;  ///< of its first sentence
};

/// The weight of each source of the sentences, from weights by name; 1 where none is given. Throws UsageError for a source
/// that is not there, a negative weight, and if all are 0.
std::vector<double> source_weights(const Sentences& sentences, const std::map<std::string, double>& weights);

/// Gives out sentences in an order drawn from the seed, none twice before all were given. Blocks of eight sentences that
/// follow each other in the file stay together, so that a clip of several sentences hangs together where the file does.
class ClipTexts {
public:
    /// weights: of the sources: one of weight 2 is drawn twice as often as long as it lasts.
    /// longest: no text is expected to take more seconds.
    ClipTexts(const Sentences& sentences, std::vector<double> weights, uint64_t seed, double longest);

    /// A text expected to take about `seconds` at this tempo: a sentence or several, the last cut at a pause, or the
    /// first part of one, whose rest comes next. No run of four words of it is in `avoid`, even across sentences;
    /// sentences with one are passed over. Throws UsageError if none is left that fits.
    ClipText next(double seconds, double tempo, const WordRuns& avoid);

    /// How many times all sentences were given.
    int passes() const {
        return pass_;
    }

private:
    struct Piece {
        SpokenWords words;
        int source = 0;
    };
    void refill();

    const Sentences& sentences_;
    std::vector<double> weights_;
    uint64_t seed_;
    double longest_;
    int pass_ = -1;
    std::vector<size_t> order_;  ///< first sentences of the blocks still to come, last first
    std::deque<Piece> pending_;
};

}  // namespace wavllm
