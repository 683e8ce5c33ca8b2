#include "wavllm/support/tokenizer_file.h"

#include "data/tokenizer/bpe.h"
#include "data/tokenizer/sentencepiece.h"
#include "tensor/error.h"

namespace wavllm {

namespace fs = std::filesystem;

fs::path tokenizer_beside(const fs::path& model) {
    const fs::path file = (fs::is_directory(model) ? model : model.parent_path()) / "tokenizer.json";
    if (!fs::exists(file))
        throw FileError(
            "{}: no tokenizer; put the model's tokenizer.json (or a SentencePiece tokenizer.model) beside it, as {}",
            model.string(), file.string());
    return file;
}

std::unique_ptr<Tokenizer> open_tokenizer_beside(const fs::path& model) {
    const fs::path sentencepiece = (fs::is_directory(model) ? model : model.parent_path()) / "tokenizer.model";
    if (fs::exists(sentencepiece)) return open_sentencepiece(sentencepiece);
    return open_hf_bpe(tokenizer_beside(model));
}

}  // namespace wavllm
