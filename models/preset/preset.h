#pragma once
// A preset: every value that decides a model and its training, plain and in one place. Presets are JSON files
// (presets/*.json); any value can be overridden by its dotted name (`--set lora.rank=16`). An unknown name is an error
// that gives the nearest one.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

namespace wavllm {

struct Preset {
    std::string name = "unnamed";

    struct {
        std::string whisper = "whisper-base";            ///< name in presets/sources.json, file or folder
        std::string llm = "smollm2-135m-instruct-q4_1";  ///< likewise
        std::string chat_template = "chatml";            ///< chatml or llama2
        std::string encoder_padding = "tight";  ///< 30s (paper), or tight: own length + 1 s, about five times cheaper
        std::string frozen_dtype = "f32";       ///< of packed LLM weights: f32, or bf16 for half the memory
    } model;

    struct {
        int64_t mid = 1024;  ///< channels of the first convolution, before its GLU
        int64_t dim = 512;   ///< after subsampling
        int64_t bottleneck = 256;
        bool output_norm = true;  ///< RMS norm of the result to the RMS of the LLM's embeddings; the paper has none
    } adapter;

    struct {
        int64_t rank = 16;
        double alpha = 32;
        double dropout = 0.1;
    } lora;

    struct {
        std::string train, valid, test;  ///< manifests; relative paths are taken from the project's folder
        std::string prompt = "Transcribe the audio clip into text.";  ///< where a request brings none of its own
        double batch_seconds = 30;                                    ///< of audio in one micro-batch
        int64_t batch_clips = 64;                                     ///< and at most this many clips
        int64_t bucket_batches = 8;   ///< clips are sorted by length within this many batches
        int64_t max_new_tokens = 64;  ///< in validation and evaluation
    } data;

    struct {
        int64_t steps = 200;
        int64_t accumulate = 1;  ///< micro-batches a step
        int64_t seed = 1;
        double adapter_rate = 1e-3;  ///< peak learning rates
        double lora_rate = 5e-4;
        int64_t warmup_steps = 20;         ///< linear; the paper: a tenth of all steps
        std::string decay = "cosine";      ///< after warm-up: cosine, linear or constant (the paper does not say)
        double final_rate = 0;             ///< fraction of the peak that is left at the end
        double beta1 = 0.9, beta2 = 0.98;  ///< Adam, as in the paper
        double eps = 1e-8;
        double weight_decay = 0;  ///< on the adapter's matrices, decoupled
        double clip_norm = 1.0;   ///< of all gradients together; 0: none
        bool checkpoint_activations = false;
        int64_t save_every = 50;      ///< steps
        int64_t keep = 3;             ///< checkpoints
        int64_t validate_every = 50;  ///< steps; 0: only at the end
        int64_t validate_clips = 64;  ///< at most, decoded greedily; 0: all
    } train;

    nlohmann::ordered_json to_json() const;
};

/// Reads a preset file and applies overrides of the form "lora.rank=16". Values that are absent keep their defaults.
/// Throws UsageError for an unknown name (with the nearest known one), a wrong type, or a value out of range.
Preset load_preset(const std::filesystem::path& path, std::span<const std::string> overrides = {});
/// The same from JSON that is already read; `source` names it in errors.
Preset parse_preset(const nlohmann::json& json, const std::string& source, std::span<const std::string> overrides = {});

}  // namespace wavllm
