#pragma once
// A preset: every value that decides a model and its training, plain and in one place. Presets are JSON files
// (presets/*.json); any value can be overridden by its dotted name (`--set lora.rank=16`). An unknown name is an error
// that gives the nearest one.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wavllm {

/// Sets of clips by name, each a manifest: {"speech": "a.tsv", "digits": "b.tsv"}. A preset may give one path alone,
/// which is a set called "all". Relative paths are taken from the project's folder. In the order of the names.
using Manifests = std::vector<std::pair<std::string, std::string>>;
/// How often batches are drawn from a set, by its name; relative to the other shares.
using Shares = std::vector<std::pair<std::string, double>>;

/// One stage of a training run. What a preset's stage does not say it takes from `train` and `data`.
struct Stage {
    std::string name = "train";
    int64_t steps = 200;
    /// Some of adapter, lora and prompt (the prompt adapter), joined by +; the rest is frozen. The paper's second stage
    /// is adapter+lora+prompt if LoRA goes on training, which it does not say, and adapter+prompt if it is frozen.
    std::string trains = "adapter+lora";
    double adapter_rate = 1e-3;  ///< peak learning rates; the CTC head goes with the adapter
    double lora_rate = 5e-4;
    double prompt_rate = 1e-4;
    int64_t warmup_steps = 20;
    std::string decay = "cosine";
    double final_rate = 0;
    double ce_weight = 1;       ///< of the LLM's cross-entropy; 0: the LLM does not run at all
    double ctc_weight = 0;      ///< of CTC on the speech embeddings; the paper has none
    Shares shares;              ///< of the training sets; empty: all alike
    double min_seconds = 0;     ///< clips below are left out
    double max_seconds = 0;     ///< clips above are left out; 0: none is
    double batch_seconds = 30;  ///< of audio in one micro-batch
    int64_t batch_clips = 64;
    /// Masks on the encoder features (models/wavllm/masking.h), as in SpecAugment; 0: none, as in the paper.
    double time_mask = 0;             ///< share of the frames
    int64_t time_mask_frames = 20;    ///< longest span (20 ms a frame)
    double channel_mask = 0;          ///< share of the channels
    int64_t channel_mask_width = 32;  ///< widest span
    double feature_dropout = 0;

    bool does_train(std::string_view part) const {
        return trains.find(part) != std::string::npos;
    }
};

struct Preset {
    std::string name = "unnamed";

    struct {
        std::string whisper = "whisper-base";  ///< name in presets/sources.json, file or folder
        std::string wavlm;  ///< likewise, a Hugging Face folder or file; empty: without WavLM (the paper's table 9)
        std::string llm = "smollm2-135m-instruct-q4_1";  ///< likewise
        std::string chat_template = "chatml";            ///< chatml or llama2
        bool random_weights =
            false;              ///< whisper, wavlm and llm name known sizes (models/known_sizes.h), and no file is read
        std::string tokenizer;  ///< with random weights: a SentencePiece model; empty: a token a byte
        /// frozen_dtype: names in kernels/linear/packed_weight.h; int8, q8_0, q4_1 and q4_0 quantise at load.
        std::string encoder_padding = "tight";  ///< 30s (paper), or tight: own length + 1 s, about five times cheaper
        std::string frozen_dtype = "auto";      ///< of frozen weights: f32, bf16, or bf16 where the CPU multiplies it
        /// Epsilon of the LLM's RMS norms; 0: what its checkpoint says (1e-5 for LLaMA-2), which it was trained with. The
        /// released WavLLM code has 1e-6.
        double norm_eps = 0;
    } model;

    struct {
        int64_t mid = 1024;          ///< channels of the first convolution, before its GLU
        int64_t acoustic_mid = 512;  ///< the same behind WavLM, whose adapter is otherwise like Whisper's
        int64_t dim = 512;           ///< after subsampling
        int64_t taps = 3;            ///< of both convolutions, odd
        int64_t bottleneck = 256;
        int64_t out = 0;  ///< of the projector; 0: what the LLM takes. The paper: 2048, widened by one more layer
        bool output_norm = true;  ///< RMS norm of the result to the RMS of the LLM's embeddings; the paper has none
    } adapter;

    /// What stands between encoder and LLM: the modality adapter above, or that of a system which the paper compares
    /// itself with (models/connector); it is trained and saved as the adapter is.
    struct {
        std::string kind = "wavllm";  ///< wavllm, qformer (SALMONN) or pooled (Qwen-Audio)
        int64_t window = 17;          ///< qformer: encoder frames (20 ms) that one window of queries reads
        int64_t queries = 1;          ///< of a window, and so its tokens
        int64_t dim = 768;            ///< of the Q-Former; with heads, ffn and layers BERT base's sizes
        int64_t heads = 12;
        int64_t ffn = 3072;
        int64_t layers = 2;
        int64_t pool = 2;  ///< pooled: encoder frames averaged to one token
    } connector;

    struct {
        int64_t rank = 16;
        double alpha = 32;
        double dropout = 0.1;
        std::string targets = "q,k,v,o";  ///< the projections that have it; the paper: all four
    } lora;

    /// Makes LoRA's strength r from the instruction (models/prompt_adapter); the paper's second stage.
    struct {
        int64_t hidden = 0;  ///< between its two layers, 1024 in the paper's model; 0: none, r = alpha / rank
        /// r limited to [0, clamp]; 0: not at all, as in the paper. The released code has 3. The default is the paper's:
        /// where a limit is reached no gradient passes, and nothing here has shown that r needs one.
        double clamp = 0;
    } prompt_adapter;

    /// How answers are found (`wavllm transcribe`, `eval`); validation during training is always greedy. What
    /// `--compat released` sets is in models/preset/compat.h.
    struct {
        double temperature = 0;       ///< 0: greedy, which repeats and errs least; the released code draws at 0.5
        int64_t top_k = 0;            ///< 0: all tokens
        double top_p = 1;             ///< 1: all of their mass
        int64_t seed = 1;             ///< of the draws
        int64_t beams = 1;            ///< above 1: beam search, without temperature
        double length_penalty = 1;    ///< of beam search: log p / tokens^length_penalty
        bool begin_with_bos = false;  ///< BOS instead of the first token behind the speech, which training does not do
        double lora_scale = 1;        ///< LoRA's strength as a multiple of the trained one ("activation tuning")
        bool count_prompt = false;    ///< data.max_new_tokens counts the tokens behind the speech, too, but the first
    } decode;

    struct {
        Manifests train, valid, test;
        std::string prompt = "Transcribe the audio clip into text.";  ///< where a request brings none of its own
        double batch_seconds = 30;                                    ///< of audio in one micro-batch
        int64_t batch_clips = 64;                                     ///< and at most this many clips
        int64_t bucket_batches = 8;   ///< clips are sorted by length within this many batches
        int64_t max_new_tokens = 64;  ///< in validation and evaluation
    } data;

    /// The CTC head over the LLM's token embeddings (models/ctc_head): an addition to the paper, there only if a stage
    /// gives it a weight.
    struct {
        /// Transcripts in pieces: the tokens that the vocabulary's first so many merges make, of which any word can be
        /// spelt; 0: in the LLM's own tokens.
        int64_t merges = 0;
        bool draft = false;         ///< behind the rows of speech the LLM reads what the head would write down, as text
        int64_t frequent = 2000;    ///< classes in every step: the most frequent tokens of the training texts,
        bool drop_blanks = false;   ///< the LLM does not get rows that the head takes for blanks
        double blank_margin = 2;    ///< rows stay if a token's logit comes within this of the blank's
        bool drop_repeats = false;  ///< nor all of neighbouring rows that say the same token
        int64_t random = 2000;      ///< and so many of all tokens, drawn anew each step; the batch's own always are
    } ctc;

    struct {
        int64_t steps = 200;
        int64_t accumulate = 1;  ///< micro-batches a step
        int64_t seed = 1;
        /// An adapter file whose values the run starts from, or a released checkpoint (final.pt); empty: random ones,
        /// from the seed. A relative path is taken from the current folder or, if nothing is there, from the project's.
        /// One of a first stage has no prompt adapter: a new one begins with r = alpha / rank, where that stage ended.
        std::string from;
        /// Names of values, joined by commas, that may differ from those the file was trained with (train/start.h):
        /// "lora.alpha,model.chat_template". Any other that decides what its tensors compute must be the same.
        std::string from_changes;
        double adapter_rate = 1e-3;  ///< peak learning rates
        double lora_rate = 5e-4;
        double prompt_rate = 1e-4;
        std::string trains = "adapter+lora";  ///< see Stage
        int64_t warmup_steps = 20;            ///< linear; the paper: a tenth of all steps
        std::string decay = "cosine";         ///< after warm-up: cosine, linear or constant (the paper does not say)
        double final_rate = 0;                ///< fraction of the peak that is left at the end
        double beta1 = 0.9, beta2 = 0.98;     ///< Adam, as in the paper
        double eps = 1e-8;
        double weight_decay = 0;  ///< on the adapter's matrices, decoupled
        double clip_norm = 1.0;   ///< of all gradients together; 0: none
        bool checkpoint_activations = false;
        int64_t save_every = 50;            ///< steps
        int64_t keep = 3;                   ///< checkpoints
        int64_t validate_every = 50;        ///< steps; 0: only at the end
        int64_t validate_clips = 64;        ///< of each set at most, decoded greedily; 0: all
        std::string adapter_dtype = "f32";  ///< of the resulting file: f32, f16 or bf16
    } train;

    /// One after the other; empty: a single one made of `train` and `data`, the paper's recipe.
    std::vector<Stage> stages;

    /// The stages a run goes through, never empty.
    std::vector<Stage> all_stages() const;
    int64_t total_steps() const;
    bool has_ctc() const;

    nlohmann::ordered_json to_json() const;
};

/// The paper's recipe for the same model and data: one stage of cross-entropy on adapter and LoRA with as many steps as
/// all stages have together; no CTC, no masks, no output norm. Rates and data are those of the last stage.
Preset plain_recipe(const Preset& preset);

/// The same preset with overrides of the form "lora.rank=16". Throws as load_preset does.
Preset with_overrides(const Preset& preset, std::span<const std::string> overrides);

/// Reads a preset file and applies overrides of the form "lora.rank=16". Values that are absent keep their defaults.
/// "data.train=..." names other sets: the file's shares of them no longer hold (all alike, unless overridden too).
/// Throws UsageError for an unknown name (with the nearest known one), a wrong type, or a value out of range.
Preset load_preset(const std::filesystem::path& path, std::span<const std::string> overrides = {});
/// The same from JSON that is already read; `source` names it in errors.
Preset parse_preset(const nlohmann::ordered_json& json, const std::string& source,
                    std::span<const std::string> overrides = {});

}  // namespace wavllm
