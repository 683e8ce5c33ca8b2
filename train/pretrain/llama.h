#pragma once
// A LLaMA from nothing: the next byte of sentences (Touvron et al. 2023, in small). Tokens are bytes (data/tokenizer/bytes.h),
// since a model of this size has no use for a large vocabulary.

#include <optional>
#include <string>

#include "models/llama/trainable.h"
#include "train/pretrain/loop.h"
#include "train/sampler.h"

namespace wavllm {

struct LlamaPretrainOptions {
    PretrainOptions run;
    std::string size = "micro";  ///< micro or small
    std::string text;            ///< one sentence a line, or a table with a column `text`; perhaps gzip
    int64_t batch_tokens = 2048;
    int64_t longest = 256;    ///< bytes of a sentence; longer ones are left out
    int64_t hold_out = 100;   ///< one of so many sentences is kept to validate with
    int64_t validated = 200;  ///< of those, at most

    nlohmann::ordered_json to_json() const;
    /// Throws FileError for options that are not of such a run, UsageError as check does.
    static LlamaPretrainOptions from_json(const nlohmann::json& values, const std::string& file);
    /// Throws UsageError, naming `where`, for values that make no sense.
    void check(const std::string& where) const;
};

/// micro: 4 layers of 192, 1.9 M parameters; small: 8 layers of 320. Throws UsageError for others.
LlamaConfig llama_size(const std::string& size);

class LlamaPretraining {
public:
    /// Throws UsageError where no sentence is short enough, none is left to train on, or one is longer than a batch.
    LlamaPretraining(const PretrainFolder& folder, LlamaPretrainOptions options,
                     const std::vector<std::string>& sentences);

    const TrainableLlama& model() const {
        return model_;
    }
    size_t sentences() const {
        return train_.size();
    }
    size_t held_out() const {
        return valid_.size();
    }
    /// Trains to the end and writes model/, unless a signal stops it.
    PretrainReport run(const std::function<void(int64_t, const nlohmann::ordered_json&)>& after_step = {});
    /// Cross-entropy a byte, in nats, of sentences that were kept back, their ends included.
    nlohmann::ordered_json validate() const;

private:
    using Ids = std::vector<int32_t>;  // BOS, bytes, EOS
    Tensor loss(std::span<const Ids* const> batch, int64_t& targets) const;

    const PretrainFolder& folder_;
    LlamaPretrainOptions options_;
    std::vector<Ids> train_, valid_;
    TrainableLlama model_;
    std::optional<Sampler> sampler_;
};

}  // namespace wavllm
