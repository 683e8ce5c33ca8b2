#pragma once
// tiny_model.h with a connector of the comparison systems in place of the modality adapter.

#include "tests/support/tiny_model.h"

namespace wavllm::tests {

/// kind: qformer (two layers, two queries a window) or pooled.
inline Wavllm connector_model(std::string_view kind, uint64_t seed = 5) {
    const Wavllm plain = tiny_model(0.1, seed);
    BridgeConfig bridge;
    bridge.llm_dim = 32;
    if (kind == "qformer")
        bridge.qformer =
            QFormerConfig{.in = 24, .window = 5, .queries = 2, .dim = 24, .heads = 3, .ffn = 40, .out = 32};
    else
        bridge.pooled = PooledConfig{.in = 24, .frames = 2, .out = 32};
    return {plain.shared_llama(), SpeechBridge(bridge, seed), plain.lora()};
}

}  // namespace wavllm::tests
