#include "wavllm/support/whisper_model.h"

#include "data/tokenizer/bpe.h"
#include "wavllm/support/model_files.h"
#include "wavllm/support/tokenizer_file.h"

namespace wavllm {

WhisperModel load_whisper_model(const std::string& name_or_path, DType panels) {
    const ModelFiles found = find_model(name_or_path);
    const auto named = found.files.find("tokenizer");
    const auto tokenizer = named != found.files.end() ? named->second : tokenizer_beside(found.model());
    const auto checkpoint = open_checkpoint(found.model());
    return {open_hf_bpe(tokenizer), Whisper::load(*checkpoint, panels)};
}

}  // namespace wavllm
