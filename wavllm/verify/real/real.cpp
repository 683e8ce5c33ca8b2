#include "wavllm/verify/real/real.h"

#include <algorithm>
#include <cmath>

#include "data/tokenizer/bpe.h"
#include "models/download.h"
#include "models/weights.h"

namespace wavllm::verify {

std::filesystem::path Real::model_file(const std::string& model, const std::string& role) const {
    return fetch_file(remote_model(sources, model).at(role));
}

std::unique_ptr<Tokenizer> whisper_tokenizer(const Real& r) {
    return open_hf_bpe(r.model_file("whisper-base", "tokenizer"));
}

void expect_real_file(Comparison& c, const std::filesystem::path& path,
                      RealTolerance (*tolerance)(const std::string& name)) {
    const auto checkpoint = open_checkpoint(path);
    for (const StoredTensor& s : checkpoint->tensors()) {
        Expected e{.file = path.filename().string(), .name = s.name, .value = to_tensor(s)};
        if (info(e.value.dtype()).floating) {
            const RealTolerance t = tolerance(s.name);
            e.tolerance = t.tolerance;
            double largest = 0;
            for (double v : e.value.values()) largest = std::max(largest, std::abs(v));
            if (t.relative && largest > 0) e.scale = largest;
        }
        c.expect(std::move(e));
    }
}

}  // namespace wavllm::verify
