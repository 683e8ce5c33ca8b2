#pragma once
// One decoding step of a batch on a device, from the tokens before to the tokens after, without the CPU in between. So it
// can be captured as a graph and launched by one call (tensor/graph.h).

#include <cstdint>
#include <vector>

#include "models/llama/llama.h"
#include "tensor/graph.h"

namespace wavllm {

/// Whether decoding steps run as graphs. automatic: as the environment variable WAVLLM_GRAPHS says, "on" or "off"; without
/// it on `cuda` alone. The results are the same to the bit.
enum class Graphs : uint8_t { automatic, off, on };
/// Throws UsageError for another value of WAVLLM_GRAPHS, and if they are to be on for a device that has none.
bool use_graphs(Graphs graphs, Device device);

/// The likeliest token of each request.
struct Chosen {
    std::vector<int32_t> ids;
    std::vector<double> log_probs;  ///< empty unless asked for
};
/// logits: [B, vocab] on a device. Throws Error naming the request whose logits have a NaN or +inf.
Chosen choose_on_device(const Tensor& logits, bool log_probs);

class DecodeStep {
public:
    /// pass: its cache, lora and run. tokens: the last ones so far, i32 [B] on the CPU. All of it must outlive this.
    DecodeStep(const Llama& llama, const LlamaPass& pass, const std::vector<int32_t>& tokens, bool graphs);

    /// Feeds the last tokens and chooses the next; advances the cache by one token for each request. Throws Error if a
    /// request does not fit into the cache or into the model's positions, and as choose_on_device.
    Chosen next(bool log_probs);
    /// Other tokens than next() chose (drawn ones) are the last ones so far.
    void feed(const std::vector<int32_t>& tokens) {
        ids_.assign(Tensor::from(tokens, {static_cast<int64_t>(tokens.size())}));
    }
    /// Of the last next(): [B, vocab], overwritten by the one to come.
    const Tensor& logits() const {
        return logits_;
    }
    /// How many graphs were captured: one for each power of two that the longest request passes.
    int captures() const {
        return captures_;
    }

private:
    void run();

    const Llama& llama_;
    LlamaPass pass_;
    Tensor ids_, unused_;  // i32 [B] on the device; what sample() would key random numbers with
    Tensor logits_, chosen_, log_probs_;
    Graph graph_;
    bool graphs_, warm_ = false;
    int captures_ = 0;
};

}  // namespace wavllm
