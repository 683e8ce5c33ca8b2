#pragma once
// A Whisper from nothing: the text of a recording, byte by byte, with the right bytes before it given (Radford et al. 2022, in
// small). There are no languages, tasks or timestamps: a text is BOS, its bytes, EOS (data/tokenizer/bytes.h).

#include <optional>

#include "models/whisper/trainable.h"
#include "models/whisper/whisper.h"
#include "train/pretrain/loop.h"
#include "train/sampler.h"

namespace wavllm {

struct WhisperPretrainOptions {
    PretrainOptions run;
    std::string size = "micro";
    std::vector<std::string> train, valid;  ///< manifests; of valid the loss is only reported
    double batch_seconds = 40;

    nlohmann::ordered_json to_json() const;
    /// Throws FileError for options that are not of such a run, UsageError as check does.
    static WhisperPretrainOptions from_json(const nlohmann::json& values, const std::string& file);
    /// Throws UsageError, naming `where`, for values that make no sense.
    void check(const std::string& where) const;
};

/// micro: encoder of "whisper-micro" (known_sizes.h) and 2 decoder layers, 1.6 M parameters. Throws UsageError for others.
WhisperConfig whisper_size(const std::string& size);

/// A recording as the encoder takes it and its text.
struct TranscribedClip {
    std::string id, text;
    Tensor mel;  ///< [frames, mels], 1 s of zeros behind, to 30 s at most (WhisperPadding::tight)
};

/// What of these manifests has speech of at most 30 s with a text of at most `longest` bytes; the others are counted in
/// left_out. Throws UsageError where nothing remains.
std::vector<TranscribedClip> load_transcribed_clips(std::span<const std::string> manifests, int64_t mels,
                                                    int64_t longest, int64_t& left_out,
                                                    const std::function<void(int64_t, int64_t)>& progress = {});

class WhisperPretraining {
public:
    /// Throws UsageError for a text that has more bytes than the decoder has positions, and for a clip that no batch has
    /// room for.
    WhisperPretraining(const PretrainFolder& folder, WhisperPretrainOptions options, std::vector<TranscribedClip> clips,
                       std::vector<TranscribedClip> valid);

    const TrainableWhisper& model() const {
        return model_;
    }
    /// Trains to the end and writes model/, unless a signal stops it.
    PretrainReport run(const std::function<void(int64_t, const nlohmann::ordered_json&)>& after_step = {});
    /// Of valid: cross-entropy a byte in nats, ends included, and how many bytes are the likeliest.
    nlohmann::ordered_json validate() const;

    /// The decoder's input and what it is to say, with these clips' mel.
    struct Batch {
        Tensor mel, mel_borders;       ///< as WhisperEncoder takes them
        Tensor ids, targets, borders;  ///< i32 [N], i32 [N], i64 [clips + 1]
    };
    static Batch make_batch(std::span<const TranscribedClip* const> clips);

private:
    Tensor hidden(const Batch& batch) const;

    const PretrainFolder& folder_;
    WhisperPretrainOptions options_;
    std::vector<TranscribedClip> clips_, valid_;
    TrainableWhisper model_;
    std::optional<Sampler> sampler_;
};

/// The text that such a Whisper hears in mel [frames, mels]: the likeliest byte each time, `longest` of them at most.
std::string transcribe_bytes(const Whisper& whisper, const Tensor& mel, int64_t longest);

}  // namespace wavllm
