#include "models/ctc_head/ctc_head.h"

#include <cmath>
#include <limits>

#include "autograd/ops/linear.h"
#include "autograd/ops/rms_norm.h"
#include "autograd/ops/scalar_mul.h"
#include "autograd/ops/scale.h"
#include "autograd/tape.h"
#include "kernels/common/check.h"
#include "tensor/thread_pool.h"

namespace wavllm {

namespace {

/// Cosines are at most 1: logits need a factor of this order to make a sharp softmax of thousands of classes. The
/// learned scale is a factor of it that starts at 1, so that Adam's steps of the learning rate move it noticeably.
constexpr float kScale = 20.0f;
constexpr float kNormEps = 1e-8f;

}  // namespace

CtcHead::CtcHead(int64_t dim, uint64_t seed, const CtcHeadConfig& config)
    : config_(config),
      blank_(uniform_parameter({1, dim}, 1, seed, "ctc.blank")),
      scale_(constant_parameter({1}, 1, "ctc.scale")),
      bias_(constant_parameter({1}, 0, "ctc.bias")) {
    PurposeScope scope(Purpose::weights);
    unit_ = Tensor::full({dim}, 1 / std::sqrt(static_cast<double>(dim)));
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

std::vector<int32_t> CtcHead::best_path(const Tensor& speech, const Llama& llama, double margin) const {
    NoGrad no_grad;
    constexpr int64_t kChunk = 4096;  // tokens looked at together
    const Queries q = queries(speech);
    const int64_t rows = speech.dim(0), vocab = llama.config().vocab;
    std::vector<int32_t> best(static_cast<size_t>(rows), kBlank);
    std::vector<float> value(q.blank.data<float>(), q.blank.data<float>() + rows);
    for (float& v : value) v -= static_cast<float>(margin);
    for (int64_t first = 0; first < vocab; first += kChunk) {
        const int64_t n = std::min(kChunk, vocab - first);
        Tensor ids = Tensor::empty({n}, DType::i32);
        for (int64_t i = 0; i < n; ++i) ids.mutable_data<int32_t>()[i] = static_cast<int32_t>(first + i);
        const Tensor logits = linear(q.rows, rms_norm(llama.embed(ids), unit_, kNormEps));
        const float* p = logits.data<float>();
        parallel_for(rows, 16, [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; ++t)
                for (int64_t i = 0; i < n; ++i)
                    if (p[t * n + i] > value[static_cast<size_t>(t)]) {
                        value[static_cast<size_t>(t)] = p[t * n + i];
                        best[static_cast<size_t>(t)] = static_cast<int32_t>(first + i);
                    }
        });
    }
    return best;
}

Parameters CtcHead::parameters() const {
    if (!defined()) return {};
    Parameters result;
    for (const Tensor& t : {blank_, scale_, bias_}) result.push_back({std::string(t.label()), t, "ctc"});
    return result;
}

}  // namespace wavllm
