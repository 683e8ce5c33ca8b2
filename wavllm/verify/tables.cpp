// Tables that are computed once: the mel filter bank and the rotary angles.

#include "kernels/log_mel/log_mel.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

void check_tables(Tiny& t) {
    const std::string file = "tables.safetensors";
    if (!t.c.wanted(file)) return;
    t.c.computed(file, "mel_filters", kernels::make_mel_filters(t.golden(file, "mel_filters").dim(0)));

    const Tensor& positions = t.golden(file, "rotary_positions");
    const LlamaConfig& llama = t.model.llama()->config();
    int64_t last = 0;
    for (double p : positions.values()) last = std::max(last, static_cast<int64_t>(p));
    const RopeTable table = make_rope_table(last + 1, llama.head_dim(), llama.rope_theta);
    const auto at_positions = [&](const Tensor& all) {
        Tensor rows = Tensor::empty({positions.numel(), all.dim(1)});
        for (int64_t i = 0; i < positions.numel(); ++i)
            for (int64_t k = 0; k < all.dim(1); ++k)
                rows.mutable_data<float>()[i * all.dim(1) + k] =
                    all.data<float>()[positions.data<int64_t>()[i] * all.dim(1) + k];
        return rows;
    };
    t.c.computed(file, "rotary_cos", at_positions(table.cos));
    t.c.computed(file, "rotary_sin", at_positions(table.sin));
}

}  // namespace wavllm::verify
