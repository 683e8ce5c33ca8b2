#include "models/llama/random.h"

#include <cmath>

#include "tensor/philox.h"
#include "tensor/thread_pool.h"

namespace wavllm {

namespace {

/// A checkpoint that exists only in memory.
class RandomCheckpoint final : public Checkpoint {
public:
    explicit RandomCheckpoint(uint64_t seed) : Checkpoint("(random weights)"), seed_(seed) {}

    void matrix(const std::string& name, int64_t rows, int64_t columns) {
        const auto bound = static_cast<float>(std::sqrt(3.0 / static_cast<double>(columns)));
        const Philox random(seed_, name, 0);
        const std::span<float> values = add(name, {rows, columns});
        parallel_for(rows * columns, int64_t{1} << 16, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; i += 4) {  // chunks begin at multiples of 4: one block each
                const auto four = random.block(static_cast<uint64_t>(i / 4));
                for (int64_t j = i; j < std::min(i + 4, end); ++j)
                    values[static_cast<size_t>(j)] =
                        bound * (2 * Philox::to_uniform(four[static_cast<size_t>(j - i)]) - 1);
            }
        });
    }
    void ones(const std::string& name, int64_t n) {
        const std::span<float> values = add(name, {n});
        std::fill(values.begin(), values.end(), 1.0f);
    }
    void finish() {
        index_names();
    }

    const std::vector<StoredTensor>& tensors() const override {
        return tensors_;
    }
    const nlohmann::json& metadata() const override {
        return metadata_;
    }
    std::string_view format() const override {
        return "random";
    }

private:
    std::span<float> add(const std::string& name, std::vector<int64_t> shape) {
        PurposeScope scope(Purpose::workspace);
        memory_.push_back(Tensor::empty(Shape(std::span<const int64_t>(shape))));
        Tensor& t = memory_.back();
        const std::span values(t.mutable_data<float>(), static_cast<size_t>(t.numel()));
        tensors_.push_back({name, DType::f32, std::move(shape), std::as_bytes(values)});
        return values;
    }

    uint64_t seed_;
    std::vector<Tensor> memory_;
    std::vector<StoredTensor> tensors_;
    nlohmann::json metadata_ = nlohmann::json::object();
};

}  // namespace

Llama random_llama(const LlamaConfig& config, uint64_t seed, bool tied, DType panels) {
    config.check();
    RandomCheckpoint c(seed);
    const int64_t d = config.dim, kv = config.kv_heads * config.head_dim();
    c.matrix("tok_embeddings.weight", config.vocab, d);
    c.ones("norm.weight", d);
    if (!tied) c.matrix("output.weight", config.vocab, d);
    for (int64_t i = 0; i < config.layers; ++i) {
        const std::string p = fmt::format("layers.{}.", i);
        c.ones(p + "attention_norm.weight", d);
        c.ones(p + "ffn_norm.weight", d);
        c.matrix(p + "attention.wq.weight", d, d);
        c.matrix(p + "attention.wk.weight", kv, d);
        c.matrix(p + "attention.wv.weight", kv, d);
        c.matrix(p + "attention.wo.weight", d, d);
        c.matrix(p + "feed_forward.w1.weight", config.ffn, d);
        c.matrix(p + "feed_forward.w3.weight", config.ffn, d);
        c.matrix(p + "feed_forward.w2.weight", d, config.ffn);
    }
    c.finish();
    const Weights weights(c);
    Llama llama = Llama::load(weights, config, panels);
    weights.finish();
    return llama;
}

}  // namespace wavllm
