#include "models/ctc_head/ctc_head.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/ops/linear.h"
#include "autograd/ops/rms_norm.h"
#include "autograd/ops/scalar_mul.h"
#include "autograd/ops/scale.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "models/ctc_head/ctc_path.h"
#include "tensor/thread_pool.h"

namespace wavllm {

namespace {

/// Cosines are at most 1: logits need a factor of this order to make a sharp softmax of thousands of classes. The
/// learned scale is a factor of it that starts at 1, so that Adam's steps of the learning rate move it noticeably.
constexpr float kScale = 20.0f;
constexpr float kNormEps = 1e-8f;

}  // namespace

CtcHead::CtcHead(int64_t dim, uint64_t seed, CtcHeadConfig config)
    : config_(std::move(config)),
      blank_(uniform_parameter({1, dim}, 1, seed, "ctc.blank")),
      scale_(constant_parameter({1}, 1, "ctc.scale")),
      bias_(constant_parameter({1}, 0, "ctc.bias")) {
    PurposeScope scope(Purpose::weights);
    unit_ = Tensor::full({dim}, 1 / std::sqrt(static_cast<double>(dim)), DType::f32, model_device());
}

CtcHead::Queries CtcHead::queries(const Tensor& speech) const {
    Queries q;
    q.rows = scale(scalar_mul(rms_norm(speech, unit_, kNormEps), scale_), kScale);
    q.blank = linear(q.rows, rms_norm(blank_, unit_, kNormEps), bias_);
    return q;
}

CtcLoss CtcHead::loss(const Tensor& speech, const CtcTargets& targets, const Llama& llama, double normalizer) const {
    const Tensor directions = rms_norm(llama.embed(targets.classes), unit_, kNormEps);
    const Queries q = queries(speech);
    return ctc_loss(linear(q.rows, directions), q.blank, targets.borders, targets.targets, targets.target_borders,
                    normalizer);
}

template <class F>
void CtcHead::each_chunk(const Queries& q, const Llama& llama, F&& f) const {
    constexpr int64_t kChunk = 4096;  // tokens looked at together
    const bool every = config_.tokens.empty();
    const int64_t tokens = every ? llama.config().vocab : static_cast<int64_t>(config_.tokens.size());
    for (int64_t first = 0; first < tokens; first += kChunk) {
        const int64_t n = std::min(kChunk, tokens - first);
        Tensor ids = Tensor::empty({n}, DType::i32);
        int32_t* id = ids.mutable_data<int32_t>();
        for (int64_t i = 0; i < n; ++i)
            id[i] = every ? static_cast<int32_t>(first + i) : config_.tokens[static_cast<size_t>(first + i)];
        f(first, ids, linear(q.rows, rms_norm(llama.embed(ids), unit_, kNormEps)).to(Device::cpu));
    }
}

CtcHead::Said CtcHead::best_path(const Tensor& speech, const Llama& llama) const {
    NoGrad no_grad;
    const Queries q = queries(speech);
    const Tensor blank = q.blank.to(Device::cpu);
    const int64_t rows = speech.dim(0);
    const auto n_rows = static_cast<size_t>(rows);
    Said said{std::vector(n_rows, kBlank),
              {blank.data<float>(), blank.data<float>() + rows},
              std::vector(n_rows, kBlank),
              std::vector(n_rows, -std::numeric_limits<float>::infinity())};
    for (int64_t t = 0; t < rows; ++t)
        if (!std::isfinite(said.logits[static_cast<size_t>(t)]))
            throw TrainingError("ctc: row {} of the speech embeddings is not finite", t);
    each_chunk(q, llama, [&](int64_t, const Tensor& ids, const Tensor& logits) {
        const int64_t n = ids.numel();
        const int32_t* id = ids.data<int32_t>();
        const float* p = logits.data<float>();
        parallel_for(rows, 16, [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; ++t)
                for (int64_t i = 0; i < n; ++i)
                    if (p[t * n + i] > said.best_logits[static_cast<size_t>(t)]) {
                        said.best_logits[static_cast<size_t>(t)] = p[t * n + i];
                        said.best_tokens[static_cast<size_t>(t)] = id[i];
                    }
        });
    });
    for (size_t t = 0; t < n_rows; ++t)
        if (said.best_logits[t] > said.logits[t]) {
            said.logits[t] = said.best_logits[t];
            said.tokens[t] = said.best_tokens[t];
        }
    return said;
}

Tensor CtcHead::log_probs(const Tensor& speech, const Llama& llama) const {
    NoGrad no_grad;
    const Queries q = queries(speech);
    const Tensor blank = q.blank.to(Device::cpu);
    const int64_t rows = speech.dim(0);
    const int64_t columns =
        1 + (config_.tokens.empty() ? llama.config().vocab : static_cast<int64_t>(config_.tokens.size()));
    Tensor result = Tensor::empty({rows, columns});
    float* to = result.mutable_data<float>();
    for (int64_t t = 0; t < rows; ++t) to[t * columns] = blank.data<float>()[t];
    each_chunk(q, llama, [&](int64_t first, const Tensor& ids, const Tensor& logits) {
        const int64_t n = ids.numel();
        const float* p = logits.data<float>();
        for (int64_t t = 0; t < rows; ++t) std::copy_n(p + t * n, n, to + t * columns + 1 + first);
    });
    parallel_for(rows, 16, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
            float* row = to + t * columns;
            const double top = *std::max_element(row, row + columns);
            double sum = 0;
            for (int64_t i = 0; i < columns; ++i) sum += std::exp(row[i] - top);
            const double log_total = top + std::log(sum);
            for (int64_t i = 0; i < columns; ++i) row[i] = static_cast<float>(row[i] - log_total);
        }
    });
    return result;
}

CtcHead::ForLlm CtcHead::for_llm(const Tensor& speech, std::span<const int64_t> counts, const Llama& llama) const {
    const Said said = best_path(speech, llama);
    ForLlm result;
    int32_t row = 0;
    for (const int64_t count : counts) {
        const size_t before = result.rows.size();
        if (config_.draft) {
            const auto path = std::span(said.tokens).subspan(static_cast<size_t>(row), static_cast<size_t>(count));
            result.drafts.push_back(config_.draft(ctc_collapse(path, kBlank).tokens));
        }
        int32_t last = kBlank;  // what the row before says
        for (const int32_t end = row + static_cast<int32_t>(count); row < end; ++row) {
            const auto t = static_cast<size_t>(row);
            // a blank that a token comes close to is kept as that token
            const bool blank = said.tokens[t] == kBlank &&
                               said.best_logits[t] < said.logits[t] - static_cast<float>(config_.blank_margin);
            const int32_t nearly = blank ? kBlank : said.best_tokens[t];
            const bool repeats = config_.drop_repeats && nearly == last;
            last = nearly;
            if (config_.drop_blanks && nearly == kBlank) continue;
            if (!repeats)
                result.rows.push_back(row);
            else if (said.best_logits[t] > said.best_logits[static_cast<size_t>(result.rows.back())])
                result.rows.back() = row;
        }
        result.counts.push_back(static_cast<int64_t>(result.rows.size() - before));
    }
    return result;
}

Parameters CtcHead::parameters() const {
    if (!defined()) return {};
    Parameters result;
    for (const Tensor& t : {blank_, scale_, bias_}) result.push_back({std::string(t.label()), t, "ctc"});
    return result;
}

}  // namespace wavllm
