#pragma once
// What the families of checks on the tiny WavLLM share: the model, its samples, and what earlier families found.

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "models/wavllm/released_system.h"
#include "tensor/model_dtype.h"
#include "wavllm/verify/comparison.h"

namespace wavllm::verify {

/// model.safetensors as `wavllm transcribe` loads a released checkpoint, with the numbers of heads of case.json.
class TinyModel {
public:
    TinyModel(const std::filesystem::path& folder, const nlohmann::json& sizes);

    const ReleasedCheckpoint& released() const {
        return released_;
    }

    const std::shared_ptr<const Llama>& llama() const {
        return llama_;
    }
    const Checkpoint& checkpoint() const {
        return *checkpoint_;
    }
    /// With trainable parameters of its own, fresh from the file: training one leaves the next untouched. Stage 2 has the
    /// prompt adapter, as released.
    Wavllm fresh(int stage = 1) const;

private:
    std::unique_ptr<Checkpoint> checkpoint_;
    ReleasedCheckpoint released_;
    std::shared_ptr<const Llama> llama_;
};

struct Sample {
    std::string name;  ///< "a", "b", "long"
    size_t row;        ///< in tokens.json
    PromptIds ids;     ///< as in tokens.json, with what the prompt adapter reads
    int64_t speech_rows;
    int64_t chunks, kept_frames;

    std::string file(const std::string& kind, const std::string& suffix = "") const {
        return kind + "_" + name + suffix + ".safetensors";
    }
};

struct Tiny {
    Comparison& c;
    std::filesystem::path folder, data;
    nlohmann::json description;  ///< case.json
    nlohmann::json tokens;       ///< tokens.json
    TinyModel model;
    std::vector<Sample> samples;
    std::map<std::string, Tensor> encoded;  ///< sample -> our own Whisper's output [chunks, T, d]
    std::map<std::string, Tensor> hidden;   ///< sample -> our own WavLM's hidden states [layers, T, C]
    std::map<std::string, Tensor> speech;   ///< sample -> our own speech embeddings [T'', dim]

    Tiny(Comparison& comparison, std::filesystem::path golden, std::filesystem::path data_folder,
         nlohmann::json case_json);
    const Tensor& golden(const std::string& file, const std::string& name) const {
        return c.golden(file, name);
    }
    /// The same as an input of the model, where the model is and in its dtype.
    Tensor given(const std::string& file, const std::string& name) const {
        return model_input(c.golden(file, name));
    }
    /// Whether anything of the samples' llama_* files is compared.
    bool wants_sequences() const;
    /// Whether anything is compared that needs `encoded`, `hidden` and `speech`.
    bool wants_encoders() const;
    /// Whether to go on with our own results for a sample, and with them alone. In the reference mode: they are exact to
    /// many digits more than the stored ones, whose rounding to float32 grows on its way through the layers.
    bool own_alone(const Sample& s) const {
        return model_dtype() == DType::f64 && encoded.contains(s.name) && hidden.contains(s.name);
    }
};

/// Borders of `sequences` sequences of equal length.
Tensor equal_borders(int64_t sequences, int64_t rows);
/// The rows of sequence i.
Tensor rows_of(const Tensor& t, const Tensor& borders, int64_t i);
/// Columns 0, step, 2 step, ... of a matrix, or elements of a vector.
Tensor every_nth(const Tensor& t, int64_t step);

/// A golden set may hold WavLM's convolution layer 1 under the name of Whisper's first convolution: the released hooks
/// share the name "conv1". Where the values say so (they begin with those of wavlm.conv1, to the bit) there is nothing
/// of Whisper's to compare; whisper.embedded still covers both of its convolutions.
bool is_wavlm_layer(const Tiny& t, const std::string& file);

// One family each; see the files of these names.
void check_tables(Tiny& t);
void check_tokens(Tiny& t);
void check_whisper(Tiny& t);
void check_wavlm(Tiny& t);
void check_bridge(Tiny& t);
void check_llama(Tiny& t);
void check_prompt_adapter(Tiny& t);
void check_stages(Tiny& t);
void check_training(Tiny& t);
void check_decoding(Tiny& t);

}  // namespace wavllm::verify
