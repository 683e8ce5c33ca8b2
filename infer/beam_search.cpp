#include "infer/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/ops/rows.h"
#include "autograd/tape.h"
#include "infer/generate.h"
#include "kernels/beam_step/beam_step.h"
#include "kernels/common/check.h"

namespace wavllm {

namespace {

constexpr double kAbsent = -std::numeric_limits<double>::infinity();

struct Beam {
    std::vector<int32_t> tokens;
    double log_prob = kAbsent;  // a float, unless the model is in f64
    int64_t slot = 0;           // of the KV cache
};

/// One request: its beams, the texts that ended, and whether it goes on.
class Search {
public:
    Search(size_t request, const BeamOptions& options) : request_(request), o_(options) {
        const int64_t first = static_cast<int64_t>(request) * o_.beams;
        for (int64_t i = 0; i < o_.beams; ++i) beams_.push_back({{}, i == 0 ? 0 : kAbsent, first + i});
    }

    bool done() const {
        return done_;
    }
    const std::vector<Beam>& beams() const {
        return beams_;
    }

    /// parents: rows among this request's beams; all three have 2 * beams entries, the likeliest first. n: tokens of a
    /// text that ends here.
    void step(const int32_t* parents, const int32_t* tokens, const double* log_probs, int64_t n, KvCache& cache) {
        std::vector<Beam> next;
        std::vector<int32_t> from;
        for (int64_t i = 0; i < 2 * o_.beams && std::ssize(next) < o_.beams; ++i) {
            const Beam& parent = beams_[static_cast<size_t>(parents[i])];
            if (tokens[i] == o_.eos) {
                if (i < o_.beams) close(parent.tokens, tokens[i], log_probs[i]);
                continue;
            }
            next.push_back({parent.tokens, log_probs[i], -1});
            next.back().tokens.push_back(tokens[i]);
            from.push_back(parents[i]);
        }
        assign_slots(from, next, cache);
        beams_ = std::move(next);
        if (o_.on_step) show(from);
        done_ = std::ssize(ended_) == o_.beams && ended_.back().score >= score(log_probs[0], n);
    }

    std::vector<Hypothesis> finish() {
        if (!done_)
            for (const Beam& beam : beams_)
                keep({beam.tokens, beam.log_prob, score(beam.log_prob, std::ssize(beam.tokens))});
        return std::move(ended_);
    }

private:
    double score(double log_prob, int64_t n) const {
        return log_prob / std::pow(static_cast<double>(n), o_.length_penalty);
    }
    void close(std::vector<int32_t> tokens, int32_t eos, double log_prob) {
        tokens.push_back(eos);
        const double s = score(log_prob, std::ssize(tokens));
        keep({std::move(tokens), log_prob, s});
    }
    /// Among equal scores the earlier text stays first.
    void keep(Hypothesis h) {
        const auto at =
            std::find_if(ended_.begin(), ended_.end(), [&](const Hypothesis& e) { return e.score < h.score; });
        ended_.insert(at, std::move(h));
        if (std::ssize(ended_) > o_.beams) ended_.pop_back();
    }
    /// The first child of a beam takes its place in the cache, the others the places of beams without children.
    void assign_slots(const std::vector<int32_t>& from, std::vector<Beam>& next, KvCache& cache) const {
        std::vector<bool> has_child(beams_.size(), false), inherited(beams_.size(), false);
        for (const int32_t p : from) has_child[static_cast<size_t>(p)] = true;
        std::vector<int64_t> free;
        for (size_t i = 0; i < beams_.size(); ++i)
            if (!has_child[i]) free.push_back(beams_[i].slot);
        for (size_t i = 0; i < next.size(); ++i) {
            const auto p = static_cast<size_t>(from[i]);
            next[i].slot = beams_[p].slot;
            if (inherited[p]) {
                next[i].slot = free.back();
                free.pop_back();
                cache.copy(beams_[p].slot, next[i].slot);
            }
            inherited[p] = true;
        }
    }
    void show(const std::vector<int32_t>& from) const {
        std::vector<int32_t> tokens;
        std::vector<double> log_probs;
        for (const Beam& beam : beams_) {
            tokens.push_back(beam.tokens.back());
            log_probs.push_back(beam.log_prob);
        }
        o_.on_step(request_, from, tokens, log_probs);
    }

    size_t request_;
    const BeamOptions& o_;
    std::vector<Beam> beams_;        // best first
    std::vector<Hypothesis> ended_;  // best first
    bool done_ = false;
};

/// What all requests share: the model, the cache with a slot for each of their beams, and the steps.
class Batch {
public:
    Batch(const Llama& llama, size_t requests, int64_t capacity, const BeamOptions& options)
        : llama_(llama),
          o_(options),
          slots_(static_cast<int64_t>(requests) * options.beams),
          cache_(llama.config(), slots_, capacity, llama.device()) {
        for (size_t i = 0; i < requests; ++i) searches_.emplace_back(i, options);
        std::vector<int32_t> request_of;
        for (int64_t i = 0; i < slots_; ++i) request_of.push_back(static_cast<int32_t>(i / o_.beams));
        pass_.lora = o_.lora;
        pass_.run = o_.run.of(Tensor::from(request_of, {slots_}));
        pass_.cache = &cache_;
        borders_ = kernels::make_borders(std::vector<int64_t>(requests, o_.beams));
    }

    std::vector<std::vector<Hypothesis>> run(const Tensor& x, std::span<const int64_t> borders) {
        Tensor h = read_prompts(x, borders);
        for (int64_t n = 1;; ++n) {
            expand(llama_.logits(h), n);
            if (n == o_.max_new_tokens ||
                std::all_of(searches_.begin(), searches_.end(), [](const Search& s) { return s.done(); }))
                break;
            h = read_last_tokens();
        }
        std::vector<std::vector<Hypothesis>> results;
        for (Search& s : searches_) results.push_back(s.finish());
        return results;
    }

private:
    Tensor forward(const Tensor& x, const std::vector<int64_t>& rows) {
        pass_.borders = kernels::make_borders(rows);
        pass_.positions = LlamaPass::positions_for(pass_.borders, &cache_);
        return llama_.forward(x, pass_);
    }

    /// Each prompt goes to its request's first slot, and is copied to the others; returns each beam's last row.
    Tensor read_prompts(const Tensor& x, std::span<const int64_t> borders) {
        std::vector<int64_t> rows(static_cast<size_t>(slots_), 0);
        for (size_t i = 0; i < searches_.size(); ++i)
            rows[i * static_cast<size_t>(o_.beams)] = borders[i + 1] - borders[i];
        const Tensor h = gather_rows(forward(x, rows), last_rows(borders, "beam_search"));
        Tensor of = Tensor::empty({slots_}, DType::i32);
        for (int64_t i = 0; i < slots_; ++i) {
            const int64_t first = i / o_.beams * o_.beams;
            of.mutable_data<int32_t>()[i] = static_cast<int32_t>(i / o_.beams);
            if (i != first) cache_.copy(first, i);
        }
        return gather_rows(h, of);
    }

    /// h: the last row of each beam, request by request, best first.
    void expand(const Tensor& logits, int64_t n) {
        std::vector<double> log_probs;
        for (const Search& s : searches_)
            for (const Beam& beam : s.beams()) log_probs.push_back(beam.log_prob);
        const int64_t k = 2 * o_.beams;
        const kernels::BeamStep best = kernels::beam_step(
            logits, Tensor::from(log_probs, {slots_}).to(logits.dtype()).to(logits.device()), borders_, k);
        Tensor parents = best.parents.to(Device::cpu).clone();
        const Tensor tokens = best.tokens.to(Device::cpu);
        const std::vector<double> scores = best.scores.values();
        for (size_t i = 0; i < searches_.size(); ++i) {
            if (searches_[i].done()) continue;
            const int64_t at = static_cast<int64_t>(i) * k;
            int32_t* p = parents.mutable_data<int32_t>() + at;
            const double* s = scores.data() + at;
            for (int64_t j = 0; j < k; ++j) p[j] -= static_cast<int32_t>(static_cast<int64_t>(i) * o_.beams);
            if (!std::isfinite(s[0]))
                throw Error(
                    "beam_search: request {} has logits that are not finite; `wavllm verify` tells whether the "
                    "weights are right",
                    i);
            searches_[i].step(p, tokens.data<int32_t>() + at, s, n, cache_);
        }
    }

    /// A request that is done goes through the motions until the others are: what it writes is forgotten at once.
    Tensor read_last_tokens() {
        Tensor ids = Tensor::zeros({slots_}, DType::i32), order = Tensor::empty({slots_}, DType::i32);
        std::vector<int64_t> held(static_cast<size_t>(slots_));
        for (int64_t i = 0; i < slots_; ++i) held[static_cast<size_t>(i)] = cache_.length(i);
        int64_t row = 0;
        for (const Search& s : searches_)
            for (const Beam& beam : s.beams()) {
                ids.mutable_data<int32_t>()[beam.slot] = beam.tokens.back();
                order.mutable_data<int32_t>()[row++] = static_cast<int32_t>(beam.slot);
            }
        const Tensor h = forward(llama_.embed(ids), std::vector<int64_t>(static_cast<size_t>(slots_), 1));
        for (const Search& s : searches_)
            if (s.done())
                for (const Beam& beam : s.beams()) cache_.truncate(beam.slot, held[static_cast<size_t>(beam.slot)]);
        return gather_rows(h, order);
    }

    const Llama& llama_;
    const BeamOptions& o_;
    int64_t slots_;
    KvCache cache_;
    LlamaPass pass_;
    Tensor borders_;  // of the beams of each request
    std::vector<Search> searches_;
};

}  // namespace

std::vector<std::vector<Hypothesis>> beam_search(const Llama& llama, const Tensor& x, const Tensor& borders,
                                                 const BeamOptions& options) {
    if (options.beams < 1 || options.max_new_tokens < 1 || !std::isfinite(options.length_penalty))
        throw UsageError(
            "beam_search: {} beams, {} new tokens, length penalty {}: the first two must be at least 1, the penalty a "
            "number",
            options.beams, options.max_new_tokens, options.length_penalty);
    if (2 * options.beams > llama.config().vocab)
        throw UsageError("beam_search: {} beams, but the vocabulary has only {} tokens", options.beams,
                         llama.config().vocab);
    NoGrad no_grad;
    const auto b = kernels::borders_of("beam_search", borders, x.dim(0));
    int64_t longest = 0;
    for (size_t i = 1; i < b.size(); ++i) longest = std::max(longest, b[i] - b[i - 1]);
    expect_positions(llama, longest, options.max_new_tokens);
    return Batch(llama, b.size() - 1, longest + options.max_new_tokens, options).run(x, b);
}

}  // namespace wavllm
