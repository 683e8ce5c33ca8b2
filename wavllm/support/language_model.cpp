#include "wavllm/support/language_model.h"

#include "models/checkpoint/gguf_tokenizer.h"
#include "wavllm/support/model_files.h"
#include "wavllm/support/tokenizer_file.h"

namespace wavllm {

std::unique_ptr<Tokenizer> load_tokenizer(const Checkpoint& checkpoint) {
    if (checkpoint.format() == "gguf") return tokenizer_from_gguf(checkpoint);
    return open_tokenizer_beside(checkpoint.path());
}

LanguageModel load_language_model(const std::string& name_or_path, DType panels, double norm_eps) {
    const auto checkpoint = open_checkpoint(find_model(name_or_path).model());
    LlamaConfig config = llama_config(*checkpoint);
    if (norm_eps > 0) config.norm_eps = norm_eps;
    LanguageModel result;
    result.tokenizer = load_tokenizer(*checkpoint);
    const Weights weights(*checkpoint);
    weights.ignore("rope_freqs.");  // ones: llama_config refuses other factors
    weights.ignore("rope.freqs");   // the table that we compute, as Meta stores it
    result.llama = Llama::load(weights, config, panels);
    weights.finish();
    return result;
}

}  // namespace wavllm
