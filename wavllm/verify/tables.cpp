// Tables that are computed once: the mel filter bank and the rotary angles.

#include "kernels/log_mel/log_mel.h"
#include "wavllm/verify/tiny.h"

namespace wavllm::verify {

void check_tables(Tiny& t) {
    const std::string file = "tables.safetensors";
    if (!t.c.wanted(file)) return;
    t.c.computed(file, "mel_filters", kernels::make_mel_filters(t.golden(file, "mel_filters").dim(0), model_dtype()));

    const Tensor& positions = t.golden(file, "rotary_positions");
    const LlamaConfig& llama = t.model.llama()->config();
    int64_t last = 0;
    for (double p : positions.values()) last = std::max(last, static_cast<int64_t>(p));
    const RopeTable table = make_rope_table(last + 1, llama.head_dim(), llama.rope_theta, model_dtype());
    const auto at_positions = [&](const Tensor& all) {
        Tensor rows = Tensor::empty({positions.numel(), all.dim(1)}, all.dtype());
        for (int64_t i = 0; i < positions.numel(); ++i)
            rows.select(0, i).assign(all.select(0, positions.data<int64_t>()[i]));
        return rows;
    };
    t.c.computed(file, "rotary_cos", at_positions(table.cos));
    t.c.computed(file, "rotary_sin", at_positions(table.sin));
}

}  // namespace wavllm::verify
