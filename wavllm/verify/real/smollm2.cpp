// SmolLM2-135M-Instruct, dequantised and computed in f32: prompts to ids, logits, greedy tokens and text.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/ops/rows.h"
#include "autograd/tape.h"
#include "data/chat_template.h"
#include "data/json.h"
#include "infer/generate.h"
#include "kernels/common/check.h"
#include "models/checkpoint/gguf_tokenizer.h"
#include "wavllm/verify/golden_folder.h"
#include "wavllm/verify/real/real.h"

namespace wavllm::verify {

namespace {

constexpr double kLogitTolerance = 1e-3;  // absolute
constexpr int64_t kMostTokens = 48;

RealTolerance tolerance_of(const std::string&) {
    return {kLogitTolerance, false};
}

/// The largest logits of every row, and their ids. Two ids that stand in another order than the golden ones count as
/// equal where their logits are so close that the tolerance does not tell them apart.
void add_largest(Real& r, const std::string& file, const std::string& prompt, const Tensor& logits) {
    const Tensor& golden = r.c.golden(file, prompt + ".top16_ids");
    const int64_t rows = logits.dim(0), vocab = logits.dim(1), n = golden.dim(1);
    Tensor values = Tensor::empty({rows, n}), ids = Tensor::empty({rows, n}, DType::i32);
    std::vector<int32_t> order(static_cast<size_t>(vocab));
    for (int64_t i = 0; i < rows; ++i) {
        const float* row = logits.data<float>() + i * vocab;
        std::iota(order.begin(), order.end(), 0);
        std::partial_sort(order.begin(), order.begin() + n, order.end(),
                          [&](int32_t a, int32_t b) { return row[a] > row[b]; });
        for (int64_t k = 0; k < n; ++k) {
            const int32_t ours = order[static_cast<size_t>(k)], theirs = golden.data<int32_t>()[i * n + k];
            const bool known = theirs >= 0 && theirs < vocab;
            values.mutable_data<float>()[i * n + k] = row[ours];
            ids.mutable_data<int32_t>()[i * n + k] =
                known && std::abs(row[ours] - row[theirs]) <= 2 * kLogitTolerance ? theirs : ours;
        }
    }
    r.c.computed(file, prompt + ".top16_logits", values);
    r.c.computed(file, prompt + ".top16_ids", ids);
}

}  // namespace

void check_smollm2(Real& r) {
    const std::string file = "smollm2.safetensors";
    const nlohmann::json golden = read_json_file(r.folder / "smollm2.json").at("prompts");
    expect_real_file(r.c, r.folder / file, tolerance_of);
    for (size_t i = 0; i < golden.size(); ++i)
        r.c.expect({.file = "smollm2.json",
                    .name = fmt::format("p{}.greedy_text", i),
                    .what = golden[i].at("prompt").get<std::string>(),
                    .value = text_tensor(golden[i].at("greedy_text").get<std::string>())});
    if (!r.c.wanted("smollm2.")) return;

    NoGrad no_grad;
    const auto checkpoint = open_checkpoint(r.model_file("smollm2-135m-instruct-q4_1"));
    const auto tokenizer = tokenizer_from_gguf(*checkpoint);
    const Weights weights(*checkpoint);
    const Llama llama = Llama::load(weights, llama_config(*checkpoint));
    weights.finish();

    std::vector<int32_t> ids;
    std::vector<int64_t> lengths;
    for (size_t i = 0; i < golden.size(); ++i) {
        const Prompt prompt = make_prompt(ChatTemplate::chatml, golden[i].at("prompt").get<std::string>(), false);
        const PromptIds own = prompt_ids(*tokenizer, prompt);
        std::vector<int32_t> all = own.left;
        all.insert(all.end(), own.right.begin(), own.right.end());
        r.c.computed(file, fmt::format("p{}.ids", i), Tensor::from(all, {static_cast<int64_t>(all.size())}));
        ids.insert(ids.end(), all.begin(), all.end());
        lengths.push_back(static_cast<int64_t>(all.size()));
    }
    const Tensor borders = kernels::make_borders(lengths);
    const Tensor x = llama.embed(Tensor::from(ids, {static_cast<int64_t>(ids.size())}));
    LlamaPass pass;
    pass.borders = borders;
    pass.positions = LlamaPass::positions_for(borders);
    const Tensor logits = llama.logits(llama.forward(x, pass));
    for (size_t i = 0; i < golden.size(); ++i) {
        const int64_t* b = borders.data<int64_t>() + i;
        const std::string prompt = fmt::format("p{}", i);
        const Tensor own = logits.slice(0, b[0], b[1]).to_contiguous();
        add_largest(r, file, prompt, own);
        r.c.computed(file, prompt + ".last_logits", own.select(0, own.dim(0) - 1).to_contiguous());
    }
    GenerateOptions options;
    options.max_new_tokens = kMostTokens;
    options.eos = tokenizer->eos().value();
    const auto generated = generate_greedy(llama, x, borders, options);
    for (size_t i = 0; i < golden.size(); ++i) {
        const std::vector<int32_t>& tokens = generated[i].tokens;
        r.c.computed(file, fmt::format("p{}.greedy_ids", i),
                     Tensor::from(tokens, {static_cast<int64_t>(tokens.size())}));
        r.c.computed("smollm2.json", fmt::format("p{}.greedy_text", i), text_tensor(tokenizer->decode(tokens, true)));
    }
}

}  // namespace wavllm::verify
