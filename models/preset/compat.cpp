#include "models/preset/compat.h"

#include <array>

#include "tensor/error.h"
#include "tensor/text.h"

namespace wavllm {

namespace {

void expect_known(std::string_view name) {
    if (name != "released")
        throw UsageError("--compat {}: must be \"released\"; leave it out for the paper's way", printable(name));
}

}  // namespace

std::span<const std::string> compat_model(std::string_view name) {
    static const std::array<std::string, 2> values{"prompt_adapter.clamp=3", "model.norm_eps=1e-6"};
    expect_known(name);
    return values;
}

std::span<const std::string> compat_decoding(std::string_view name) {
    static const std::array<std::string, 5> values{"decode.temperature=0.5", "decode.beams=1",
                                                   "data.max_new_tokens=512", "decode.begin_with_bos=true",
                                                   "decode.count_prompt=true"};
    expect_known(name);
    return values;
}

}  // namespace wavllm
