#pragma once
// tiny_model.h with a prompt adapter: the second training stage.

#include <map>

#include "tests/support/tiny_model.h"

namespace wavllm::tests {

/// Adds normal values to all of them.
inline void disturb(const Parameters& parameters, float size) {
    for (const Parameter& p : parameters) {
        const Philox rng(23, p.name, 0);
        Tensor t = p.tensor;
        for (int64_t i = 0; i < t.numel(); ++i)
            t.mutable_data<float>()[i] += size * rng.normal(static_cast<uint64_t>(i));
    }
}

/// The tiny model as a first stage leaves it (LoRA's B is not zero), with a new prompt adapter; hidden = 0: without.
inline Wavllm stage2_model(int64_t hidden, double clamp = 0) {
    const Wavllm first = tiny_model();
    for (const Parameter& p : first.lora().parameters())
        if (p.name.ends_with("B")) disturb({p}, 0.1f);
    PromptAdapter adapter;
    if (hidden > 0)
        adapter = PromptAdapter({.dim = 32, .hidden = hidden, .start = first.lora().stage1_scale(), .clamp = clamp}, 6);
    return {first.shared_llama(), first.bridge(), first.lora(), {}, adapter};
}

/// Clips of three tasks, each with its instruction.
inline std::vector<SpeechExample> stage2_examples(size_t n) {
    auto examples = tiny_examples(n);
    for (size_t i = 0; i < n; ++i) {
        const auto task = static_cast<int32_t>(i % 3);
        examples[i].ids.instruction = {40 + task, 41, 42};
        if (task == 1) examples[i].ids.instruction.push_back(50);
        examples[i].ids.right.insert(examples[i].ids.right.begin() + 1, 40 + task);
    }
    return examples;
}

}  // namespace wavllm::tests
