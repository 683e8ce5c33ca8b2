#pragma once
// Golden values of the real small weights: SmolLM2-135M-Instruct, Whisper base, and the tokenizers.

#include <filesystem>
#include <memory>

#include "data/tokenizer/tokenizer.h"
#include "wavllm/verify/comparison.h"

namespace wavllm::verify {

struct Real {
    Comparison& c;
    std::filesystem::path folder, data, sources;

    /// A file of a model of presets/sources.json, downloaded if it is not in the cache.
    std::filesystem::path model_file(const std::string& model, const std::string& role = "model") const;
};

std::unique_ptr<Tokenizer> whisper_tokenizer(const Real& r);

/// How far a float tensor may be off, relative to its largest absolute value or absolutely.
struct RealTolerance {
    double tolerance;
    bool relative;
};
/// Adds a file's values; integer tensors must be equal.
void expect_real_file(Comparison& c, const std::filesystem::path& path,
                      RealTolerance (*tolerance)(const std::string& name));

// Each adds what it expects, then computes it.
void check_real_tokenizers(Real& r);
void check_smollm2(Real& r);
void check_whisper_base(Real& r);

}  // namespace wavllm::verify
