// Twenty strings through three real tokenizers: ids must be equal.

#include "data/json.h"
#include "data/tokenizer/sentencepiece.h"
#include "models/checkpoint/gguf_tokenizer.h"
#include "wavllm/verify/golden_folder.h"
#include "wavllm/verify/real/real.h"

namespace wavllm::verify {

namespace {

std::unique_ptr<Tokenizer> open(const Real& r, const std::string& which) {
    if (which == "llama2") return open_sentencepiece(r.data / "tokenizer" / "llama2.tokenizer.model");
    if (which == "smollm2") return tokenizer_from_gguf(*open_checkpoint(r.model_file("smollm2-135m-instruct-q4_1")));
    return whisper_tokenizer(r);
}

}  // namespace

void check_real_tokenizers(Real& r) {
    const std::string file = "tokenizers.json";
    const nlohmann::json golden = read_json_file(r.folder / file);
    const auto texts = golden.at("strings").get<std::vector<std::string>>();
    for (const auto& [which, lists] : golden.items()) {
        if (!lists.is_array() || which == "strings") continue;
        const auto name = [&, w = which](size_t i) { return fmt::format("{}[{}]", w, i); };
        for (size_t i = 0; i < texts.size(); ++i)
            r.c.expect({.file = file, .name = name(i), .value = ids_tensor(lists.at(i).get<std::vector<int64_t>>())});
        if (which != "llama2" && which != "smollm2" && which != "whisper_base") continue;  // no rule: they fail
        if (!r.c.wanted(file)) continue;
        const auto tokenizer = open(r, which);
        for (size_t i = 0; i < texts.size(); ++i)
            r.c.computed(file, name(i), ids_tensor(tokenizer->encode(texts[i], true)));
    }
}

}  // namespace wavllm::verify
