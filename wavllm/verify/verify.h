#pragma once
// `wavllm verify` as a library: the program prints the report, the tests look into it.

#include <filesystem>

#include "wavllm/verify/comparison.h"

namespace wavllm::verify {

struct Options {
    std::filesystem::path golden;   ///< holds case.json (the tiny WavLLM) or smollm2.json (the real small weights)
    std::filesystem::path data{};   ///< holds speech/ and tokenizer/; empty: found beside the golden folder
    std::filesystem::path sources;  ///< presets/sources.json: where the real weights come from
    std::filesystem::path dump{};   ///< computed values are written here as safetensors; empty: nowhere
    std::string only{};             ///< part of "file name"
    DType dtype = DType::f32;       ///< what the models compute in: f64 is the reference mode (tensor/model_dtype.h)
};

/// Computes everything that the folder has golden values for and this build can compute. Throws FileError if the folder
/// is missing, incomplete or damaged, or is no golden folder.
Report run(const Options& options);

}  // namespace wavllm::verify
