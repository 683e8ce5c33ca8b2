#include "data/synth/clip_texts.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"
#include "tensor/philox.h"

namespace wavllm {

namespace {

constexpr size_t kBlock = 8;
constexpr size_t kShortestPiece = 2;  // words of a piece that is cut off

/// Where to cut so that at most `seconds` are expected: behind the last pause that allows it; if none does, behind the
/// first pause. 0: there is none.
size_t cut_behind(const SpokenWords& words, double seconds) {
    size_t best = 0;
    for (size_t n = kShortestPiece; n + kShortestPiece <= words.size(); ++n) {
        if (words[n - 1].pause == 0) continue;
        if (best > 0 && expected_seconds({words.data(), n}) > seconds) break;
        best = n;
    }
    return best;
}

SpokenWords joined(const SpokenWords& a, std::span<const SpokenWord> b) {
    SpokenWords all = a;
    if (!all.empty() && all.back().pause == 0) all.back().pause = '.';
    all.insert(all.end(), b.begin(), b.end());
    return all;
}

}  // namespace

std::vector<double> source_weights(const Sentences& sentences, const std::map<std::string, double>& weights) {
    std::vector<double> result(sentences.sources.size(), 1.0);
    for (const auto& [name, weight] : weights) {
        const auto at = std::find_if(sentences.sources.begin(), sentences.sources.end(),
                                     [&, wanted = name](const Sentences::Source& s) { return s.name == wanted; });
        if (at == sentences.sources.end()) {
            std::string known;
            for (const auto& s : sentences.sources) known += (known.empty() ? "" : ", ") + s.name;
            throw UsageError("the text has no source \"{}\"; it has: {}", name, known);
        }
        if (!(weight >= 0)) throw UsageError("the weight of source {} is {}; it must be 0 or more", name, weight);
        result[static_cast<size_t>(at - sentences.sources.begin())] = weight;
    }
    if (std::none_of(result.begin(), result.end(), [](double w) { return w > 0; }))
        throw UsageError("all sources of the text have the weight 0; nothing is left to speak");
    return result;
}

ClipTexts::ClipTexts(const Sentences& sentences, std::vector<double> weights, uint64_t seed, double longest)
    : sentences_(sentences), weights_(std::move(weights)), seed_(seed), longest_(longest) {}

void ClipTexts::refill() {
    if (order_.empty()) {
        ++pass_;
        // Weighted sampling without replacement as a race of exponential clocks (Efraimidis and Spirakis 2006).
        const Philox random(seed_, "synth.order", static_cast<uint32_t>(pass_));
        std::vector<std::pair<double, size_t>> race;
        for (size_t first = 0; first < sentences_.sentences.size(); first += kBlock) {
            const double weight = weights_[static_cast<size_t>(sentences_.source[first])];
            const double u = (static_cast<double>(random.bits(first)) + 0.5) * 0x1p-32;
            if (weight > 0) race.emplace_back(-std::log(u) / weight, first);
        }
        std::sort(race.begin(), race.end(), std::greater<>());
        for (const auto& [time, first] : race) order_.push_back(first);
    }
    const size_t first = order_.back();
    order_.pop_back();
    for (size_t i = first; i < std::min(first + kBlock, sentences_.sentences.size()); ++i)
        if (weights_[static_cast<size_t>(sentences_.source[i])] > 0)
            if (auto words = spoken_words(sentences_.sentences[i]))
                pending_.push_back({std::move(*words), sentences_.source[i]});
}

ClipText ClipTexts::next(double seconds, double tempo, const WordRuns& avoid) {
    const double wanted = std::min(seconds, longest_) * tempo, longest = longest_ * tempo;
    SpokenWords words;
    int source = 0;
    const int last_pass = pass_ + 2;
    while (words.empty() || expected_seconds(words) < 0.9 * wanted) {
        if (pending_.empty()) refill();
        if (pass_ > last_pass)
            throw UsageError(
                "no sentence is left that fits into {:.1f} s and shares no run of {} words with the texts "
                "to keep apart from; give more text",
                longest_, kRunWords);
        Piece piece = std::move(pending_.front());
        pending_.pop_front();
        if (avoid.find(transcript(piece.words))) continue;
        size_t take = piece.words.size();
        const double room = wanted * 1.1 - (words.empty() ? 0 : expected_seconds(words));
        if (expected_seconds(piece.words) > room) take = cut_behind(piece.words, room);
        if (take == 0) take = piece.words.size();
        if (words.empty() && expected_seconds({piece.words.data(), take}) > longest) continue;
        const SpokenWords all = joined(words, {piece.words.data(), take});
        const bool fits = words.empty() ||
                          (expected_seconds(all) <= std::min(longest, wanted * 1.25) && !avoid.find(transcript(all)));
        if (!fits) {
            pending_.push_front(std::move(piece));
            break;
        }
        if (words.empty()) source = piece.source;
        words = all;
        if (take < piece.words.size()) {
            piece.words.erase(piece.words.begin(), piece.words.begin() + static_cast<int64_t>(take));
            pending_.push_front(std::move(piece));
        }
    }
    return {std::move(words), sentences_.sources[static_cast<size_t>(source)].name};
}

}  // namespace wavllm
