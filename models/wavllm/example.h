#pragma once
// One clip with its instruction and answer, ready for the model; and batches of them.

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "models/wavllm/feature_cache.h"
#include "models/wavllm/wavllm.h"

namespace wavllm {

struct SpeechExample {
    std::string id;
    PromptIds ids;                    ///< target empty where there is none
    std::string reference;            ///< the target as text
    std::vector<int32_t> transcript;  ///< the target in the tokens that CTC aligns
    Tensor features;  ///< [T, C] of the frozen encoder, bf16 or f32; undefined if `cached` has them, or without
                      ///< speech
    Tensor acoustic;  ///< [layers, T2, C2], WavLM's hidden states, likewise; undefined in a model without WavLM
    std::optional<CachedClip> cached;  ///< where the features are if they are not in memory
    std::vector<int64_t>
        chunk_rows;               ///< rows of each 30 s chunk: the subsampling convolutions do not reach across them
    int64_t key = 0;              ///< its own number (below 2^22): dropout masks belong to it
    double seconds = 0;           ///< of audio
    std::string task, speaker;    ///< as the manifest says; may be empty
    std::filesystem::path audio;  ///< empty if it came from no file
    AudioSpan span;               ///< the part of `audio` that it is

    /// Whether the answer is what is spoken, so that CTC can align it.
    bool is_transcript() const {
        return task.empty() || task == "asr" || task == "digits";
    }
    /// T and C; 0 without speech.
    int64_t feature_rows() const;
    int64_t feature_channels() const;
    /// Of WavLM's hidden states: layers, T2 and C2; zeros where there are none.
    Shape acoustic_shape() const;
    /// Rows of speech that the LLM gets from a model's bridge (the default: any with WavLLM's adapters): those of its
    /// chunks together, or fewer where WavLM's end earlier.
    int64_t speech_rows(const SpeechBridge& bridge = {}) const;
    /// The features as f32 to `to`, T * C of them; where acoustic_to is given WavLM's hidden states go there, one layer
    /// `layer_stride` numbers behind the other. Throws FileError as CachedClip::copy_features does.
    void copy_features(float* to, float* acoustic_to = nullptr, int64_t layer_stride = 0) const;
};

/// Pointers to all examples or, if most > 0, to at most so many, spread over the set: a part that has all its speakers and lengths.
std::vector<const SpeechExample*> pointers_to(std::span<const SpeechExample> examples, size_t most = 0);

/// Lays the examples end to end. with_targets: for training; otherwise the sequences end after the right prompt. bridge:
/// of the model that will read them, for it decides how many rows of speech there will be; the default is that of any
/// bridge with WavLLM's adapters. Another model notices and throws (Wavllm::inputs). Throws ShapeError naming an example
/// whose features are not like the others'.
SpeechBatch make_batch(std::span<const SpeechExample* const> examples, bool with_targets,
                       const SpeechBridge& bridge = {});

}  // namespace wavllm
