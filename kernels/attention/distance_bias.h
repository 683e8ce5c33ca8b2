#pragma once
// The CPU's side of AttentionBias: the bias of a head by distance, without the clamp, so that a row of scores reads its
// own side by side.

#include "kernels/attention/attention.h"
#include "kernels/attention/tile.h"
#include "kernels/common/check.h"

namespace wavllm::kernels::attention_tile {

class DistanceBias {
public:
    /// For all sequences of a call; nothing if there is no bias. Values are in units of log 2, as scores are.
    DistanceBias(const AttentionBias& bias, const detail::AttentionSizes& z) {
        if (!bias.defined()) return;
        int64_t longest_q = 0, longest_k = 0;
        for (int64_t s = 0; s < z.sequences(); ++s) {
            longest_q = std::max(longest_q, z.queries(s));
            longest_k = std::max(longest_k, z.keys(s));
        }
        left_ = longest_q + kBlock;  // tiles are filled up with rows and keys that do not exist
        width_ = left_ + longest_k + kBlock;
        values_ = workspace({z.heads, width_});
        float* to = values_.mutable_data<float>();
        const float* from = bias.by_distance.data<float>();
        const int64_t reach = bias.by_distance.dim(0) / 2;
        for (int64_t h = 0; h < z.heads; ++h)
            for (int64_t i = 0; i < width_; ++i)
                to[h * width_ + i] = kLog2E * from[(reach + std::clamp(i - left_, -reach, reach)) * z.heads + h];
    }
    bool defined() const {
        return values_.defined();
    }
    /// To be indexed by key minus query.
    const float* head(int64_t h) const {
        return defined() ? values_.data<float>() + h * width_ + left_ : nullptr;
    }

private:
    int64_t left_ = 0, width_ = 0;
    Tensor values_;
};

}  // namespace wavllm::kernels::attention_tile
