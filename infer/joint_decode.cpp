#include "infer/joint_decode.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "autograd/ops/rows.h"
#include "autograd/tape.h"
#include "infer/generate.h"
#include "kernels/common/check.h"

namespace wavllm {

namespace {

/// What CTC finds impossible still is a text if the LLM insists: there may be fewer rows than tokens.
constexpr double kFloor = -1e4;

struct Beam {
    std::vector<int32_t> tokens;
    double llm = 0;  // log p
    CtcPrefix::Text heard;
    int64_t slot = 0;  // of the KV cache
    double score = 0;
};

struct Candidate {
    size_t from;  // index of the beam
    int32_t token;
    double llm, score;
    CtcPrefix::Text heard;
};

/// The n tokens of largest logit, the largest first, lower ids before higher ones.
std::vector<int32_t> likeliest(const float* logits, int64_t vocab, int64_t n) {
    std::vector<int32_t> ids(static_cast<size_t>(vocab));
    std::iota(ids.begin(), ids.end(), 0);
    const auto end = ids.begin() + std::min(n, vocab);
    std::partial_sort(ids.begin(), end, ids.end(),
                      [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
    ids.erase(end, ids.end());
    return ids;
}

class JointSearch {
public:
    JointSearch(const Llama& llama, const CtcPrefix& ctc, const Spelling& spelling, const JointOptions& options,
                int64_t prompt)
        : llama_(llama),
          ctc_(ctc),
          spelling_(spelling),
          o_(options),
          cache_(llama.config(), options.beams, prompt + options.max_new_tokens, llama.device()) {
        pass_.lora = o_.lora;
        // all beams are of one request
        pass_.run = o_.run.of(Tensor::full({options.beams}, 0, DType::i32));
        pass_.cache = &cache_;
        beams_.push_back({{}, 0, ctc.empty()});
    }

    std::vector<int32_t> run(const Tensor& x) {
        std::vector<int64_t> rows(static_cast<size_t>(o_.beams), 0);
        rows[0] = x.dim(0);
        const Tensor h = forward(x, rows);
        const std::vector<int32_t> last{static_cast<int32_t>(x.dim(0)) - 1};
        Tensor logits = llama_.logits(gather_rows(h, Tensor::from(last, {1}))).to(Device::cpu);
        for (int64_t n = 1;; ++n) {
            keep_best(candidates(logits));
            // what a text may still become is worth less than what it is
            if (best_ && (beams_.empty() || best_->score >= beams_.front().score)) break;
            if (n == o_.max_new_tokens) break;
            logits = llama_.logits(step()).to(Device::cpu);
        }
        return best_ ? best_->tokens : beams_.front().tokens;
    }

private:
    Tensor forward(const Tensor& x, const std::vector<int64_t>& rows) {
        pass_.borders = kernels::make_borders(rows);
        pass_.positions = LlamaPass::positions_for(pass_.borders, &cache_);
        return llama_.forward(x, pass_);
    }

    double together(double llm, double ctc) const {
        return (1 - o_.ctc_weight) * llm + o_.ctc_weight * std::max(ctc, kFloor);
    }

    /// All continuations of all beams that do not end; the best that ends goes to best_.
    std::vector<Candidate> candidates(const Tensor& logits) {
        const int64_t vocab = llama_.config().vocab;
        std::vector<Candidate> all;
        for (size_t i = 0; i < beams_.size(); ++i) {
            const Beam& beam = beams_[i];
            const float* row = logits.data<float>() + static_cast<int64_t>(i) * vocab;
            const std::vector<int32_t> tokens = likeliest(row, vocab, o_.candidates);
            // log softmax of one of them, and the same denominator for all
            const double log_total = row[tokens[0]] - log_softmax_at(row, vocab, tokens[0]);
            if (o_.eos >= 0) {
                const double score = together(beam.llm + row[o_.eos] - log_total, ctc_.ends(beam.heard));
                if (!best_ || score > best_->score) best_ = Beam{beam.tokens, 0, {}, 0, score};
            }
            for (const int32_t token : tokens) {
                if (token == o_.eos) continue;
                Candidate c{i, token, beam.llm + row[token] - log_total, 0, beam.heard};
                const std::vector<int32_t> columns = spelling_(token, beam.tokens.empty());
                for (const int32_t column : columns) c.heard = ctc_.extended(c.heard, column);
                if (columns.empty()) c.heard.begins = kFloor;
                c.score = together(c.llm, c.heard.begins);
                all.push_back(std::move(c));
            }
        }
        return all;
    }

    /// The best candidates become the beams. The first child of a beam takes its place in the cache, the others the
    /// places of beams without children.
    void keep_best(std::vector<Candidate> all) {
        std::stable_sort(all.begin(), all.end(),
                         [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
        all.resize(std::min(all.size(), static_cast<size_t>(o_.beams)));
        std::vector<bool> taken(static_cast<size_t>(o_.beams), false), inherited(beams_.size(), false);
        for (const Candidate& c : all) taken[static_cast<size_t>(beams_[c.from].slot)] = true;
        std::vector<Beam> next;
        for (Candidate& c : all) {
            const Beam& from = beams_[c.from];
            int64_t slot = from.slot;
            if (inherited[c.from]) {
                slot = std::find(taken.begin(), taken.end(), false) - taken.begin();
                taken[static_cast<size_t>(slot)] = true;
                cache_.copy(from.slot, slot);
            }
            inherited[c.from] = true;
            next.push_back({from.tokens, c.llm, std::move(c.heard), slot, c.score});
            next.back().tokens.push_back(c.token);
        }
        beams_ = std::move(next);
    }

    /// Every beam's last token through the LLM; rows in the order of the beams.
    Tensor step() {
        std::vector<int64_t> rows(static_cast<size_t>(o_.beams), 0);
        std::vector<size_t> by_slot(beams_.size());
        std::iota(by_slot.begin(), by_slot.end(), size_t{0});
        std::sort(by_slot.begin(), by_slot.end(), [&](size_t a, size_t b) { return beams_[a].slot < beams_[b].slot; });
        std::vector<int32_t> ids, order(beams_.size());
        for (const size_t i : by_slot) {
            rows[static_cast<size_t>(beams_[i].slot)] = 1;
            order[i] = static_cast<int32_t>(ids.size());
            ids.push_back(beams_[i].tokens.back());
        }
        const auto n = static_cast<int64_t>(ids.size());
        return gather_rows(forward(llama_.embed(Tensor::from(ids, {n})), rows), Tensor::from(order, {n}));
    }

    const Llama& llama_;
    const CtcPrefix& ctc_;
    const Spelling& spelling_;
    const JointOptions& o_;
    KvCache cache_;
    LlamaPass pass_;
    std::vector<Beam> beams_;   // best first
    std::optional<Beam> best_;  // of those that ended
};

}  // namespace

std::vector<int32_t> decode_jointly(const Llama& llama, const Tensor& x, const CtcPrefix& ctc, const Spelling& spelling,
                                    const JointOptions& options) {
    if (x.dim(0) == 0) throw ShapeError("decode_jointly: the request has no rows");
    if (options.beams < 1 || options.candidates < 1 || options.max_new_tokens < 1)
        throw UsageError("decode_jointly: beams, candidates and new tokens must be at least 1");
    NoGrad no_grad;
    return JointSearch(llama, ctc, spelling, options, x.dim(0)).run(x);
}

}  // namespace wavllm
