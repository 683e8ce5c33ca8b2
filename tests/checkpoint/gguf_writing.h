#pragma once
// LLaMAs written as GGUF, for the tests that read them back.

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "autograd/tape.h"
#include "data/sha256.h"
#include "kernels/common/check.h"
#include "models/checkpoint/readers.h"
#include "models/convert/config_json.h"
#include "models/convert/gguf.h"
#include "models/llama/llama.h"
#include "tests/program/program.h"

namespace wavllm::tests {

inline std::unique_ptr<Checkpoint> to_gguf(const std::filesystem::path& from, const std::filesystem::path& to,
                                           std::optional<DType> dtype = {}) {
    const auto source = open_with_config(from);
    const auto [heads, kv_heads] = heads_of(*source);
    const ConvertOptions options{.naming = LlamaNaming::gguf, .dtype = dtype, .heads = heads, .kv_heads = kv_heads};
    const Plan plan = plan_conversion(*source, options);
    write_gguf_file(to, gguf_metadata(*source, options, plan), streamed(*source, plan), {});
    return open_checkpoint(to);
}

inline std::vector<double> logits(const Checkpoint& checkpoint, DType panels, const std::vector<int32_t>& ids) {
    const NoGrad no_grad;
    const Weights weights(checkpoint);
    const Llama llama = Llama::load(weights, llama_config(checkpoint), panels);
    weights.finish();
    const int64_t rows[] = {std::ssize(ids)};
    LlamaPass pass;
    pass.borders = kernels::make_borders(rows);
    pass.positions = LlamaPass::positions_for(pass.borders);
    return llama.logits(llama.forward(llama.embed(Tensor::from(ids, {rows[0]})), pass)).values();
}

/// Some of llama_folder.h's vocabulary.
inline const std::vector<int32_t> kIds{68, 104, 256, 7, 258, 40, 111};

inline double worst(const std::vector<double>& a, const std::vector<double>& b) {
    REQUIRE(a.size() == b.size());
    double most = 0;
    for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
    return most;
}

inline std::string hash_of(const std::filesystem::path& file) {
    const std::string text = read_all(file);
    return sha256_bytes(std::as_bytes(std::span(text)));
}

inline constexpr DType kBlocks[] = {DType::q8_0, DType::q4_1, DType::q4_0, DType::int8};

}  // namespace wavllm::tests
