#pragma once
#include <vector>

#include "models/whisper/config.h"
#include "tensor/tensor.h"

namespace wavllm {

/// What Whisper's decoder keeps of a batch of audio chunks while it writes: the keys and values of each chunk's
/// encoder frames, made once, and those of the tokens so far. A slot holds one chunk.
class WhisperCache {
public:
    /// Room for `slots` chunks of at most max_frames encoder frames, and for `capacity` tokens each. Throws UsageError
    /// if the model has fewer positions. device: the model's.
    WhisperCache(const WhisperConfig& config, int64_t slots, int64_t capacity, int64_t max_frames,
                 Device device = model_device());

    int64_t slots() const {
        return tokens_.dim(0);
    }
    int64_t capacity() const {
        return capacity_;
    }
    int64_t tokens(int64_t slot) const {
        return tokens_.data<int64_t>()[slot];
    }
    int64_t frames(int64_t slot) const {
        return frames_.data<int64_t>()[slot];
    }

private:
    friend class WhisperDecoder;
    int64_t capacity_, max_frames_;
    std::vector<Tensor> self_,
        cross_;               // a layer: [slots, capacity or max_frames, 2 heads (keys, then values), head_dim]
    Tensor tokens_, frames_;  // i64 [slots]: how many are held
};

}  // namespace wavllm
