#include "train/pretrain/llama.h"

#include <algorithm>

#include "autograd/ops/cross_entropy.h"
#include "autograd/tape.h"
#include "data/tokenizer/bytes.h"
#include "kernels/common/check.h"
#include "models/convert/config_json.h"
#include "tensor/atomic_file.h"

namespace wavllm {

namespace {

template <class Options, class F>
void each_option(Options& o, F&& f) {
    f("size", o.size);
    f("text", o.text);
    f("batch_tokens", o.batch_tokens);
    f("longest", o.longest);
    f("hold_out", o.hold_out);
    f("validated", o.validated);
    each_loop_option(o.run, f);
}

}  // namespace

nlohmann::ordered_json LlamaPretrainOptions::to_json() const {
    return options_json("llama", [&](auto&& f) { each_option(*this, f); });
}

LlamaPretrainOptions LlamaPretrainOptions::from_json(const nlohmann::json& values, const std::string& file) {
    LlamaPretrainOptions o;
    read_options(values, "llama", file, [&](auto&& f) { each_option(o, f); });
    o.check(file);
    return o;
}

void LlamaPretrainOptions::check(const std::string& where) const {
    run.check(where);
    const auto longest_text = static_cast<double>(llama_size(size).max_positions - 1);  // BOS before it
    const auto whole = [&](const char* name, int64_t value, double least, double most) {
        check_option(where, name, static_cast<double>(value), least, most);
    };
    whole("batch_tokens", batch_tokens, 1, 1e9);
    whole("longest", longest, 1, longest_text);
    whole("hold_out", hold_out, 2, 1e9);
    whole("validated", validated, 0, 1e9);
}

LlamaConfig llama_size(const std::string& size) {
    LlamaConfig c{.dim = 192, .layers = 4, .heads = 6, .kv_heads = 3, .ffn = 512, .vocab = kByteVocab};
    if (size == "micro") return c;
    if (size != "small") throw UsageError("pretrain llama: the sizes are micro and small, not \"{}\"", size);
    c.dim = 320;
    c.layers = 8;
    c.heads = 10;
    c.kv_heads = 5;
    c.ffn = 864;
    return c;
}

LlamaPretraining::LlamaPretraining(const PretrainFolder& folder, LlamaPretrainOptions options,
                                   const std::vector<std::string>& sentences)
    : folder_(folder), options_(std::move(options)), model_(llama_size(options_.size), options_.run.seed) {
    const ByteTokenizer tokenizer(kByteVocab);
    std::vector<double> lengths;
    for (size_t i = 0; i < sentences.size(); ++i) {
        if (static_cast<int64_t>(sentences[i].size()) > options_.longest) continue;
        Ids ids{*tokenizer.bos()};
        for (const int32_t id : tokenizer.encode(sentences[i])) ids.push_back(id);
        ids.push_back(*tokenizer.eos());
        if (i % static_cast<size_t>(options_.hold_out) == 0) {
            if (static_cast<int64_t>(valid_.size()) < options_.validated) valid_.push_back(std::move(ids));
            continue;
        }
        lengths.push_back(static_cast<double>(ids.size()));
        train_.push_back(std::move(ids));
    }
    if (train_.empty() && !valid_.empty())
        throw UsageError(
            "pretrain llama: of {} sentences {} of at most {} bytes are kept back (one of {}) and none is left to "
            "train "
            "on; give more text",
            sentences.size(), valid_.size(), options_.longest, options_.hold_out);
    if (train_.empty())
        throw UsageError("pretrain llama: none of {} sentences has at most {} bytes; raise --longest", sentences.size(),
                         options_.longest);
    if (const double most = *std::max_element(lengths.begin(), lengths.end());
        most > static_cast<double>(options_.batch_tokens))
        throw UsageError(
            "pretrain llama: a sentence has {} tokens, its begin and end included, but a batch only {}; raise "
            "--batch-tokens or lower --longest",
            most, options_.batch_tokens);
    sampler_.emplace(lengths, SamplerConfig{.batch_seconds = static_cast<double>(options_.batch_tokens),
                                            .batch_clips = options_.batch_tokens,
                                            .bucket_batches = 1,
                                            .seed = options_.run.seed});
}

Tensor LlamaPretraining::loss(std::span<const Ids* const> batch, int64_t& targets) const {
    std::vector<int32_t> ids, next;
    std::vector<int64_t> lengths;
    for (const Ids* s : batch) {
        ids.insert(ids.end(), s->begin(), s->end() - 1);
        next.insert(next.end(), s->begin() + 1, s->end());
        lengths.push_back(static_cast<int64_t>(s->size()) - 1);
    }
    targets = static_cast<int64_t>(next.size());
    PurposeScope scope(Purpose::data);
    const Tensor input = Tensor::from(ids, {targets}), output = Tensor::from(next, {targets});
    const Tensor borders = kernels::make_borders(lengths);
    PurposeScope activations(Purpose::activations);
    return cross_entropy(model_.forward(input, borders), model_.embedding(), output, static_cast<double>(targets)).loss;
}

nlohmann::ordered_json LlamaPretraining::validate() const {
    const NoGrad no_grad;
    double sum = 0;
    int64_t bytes = 0;
    for (const Ids& s : valid_) {
        const Ids* one = &s;
        int64_t targets = 0;
        const double mean = loss({&one, 1}, targets).item();
        sum += mean * static_cast<double>(targets);
        bytes += targets;
    }
    return {{"valid", "sentences kept back"}, {"loss", sum / static_cast<double>(bytes)}, {"bytes", bytes}};
}

PretrainReport LlamaPretraining::run(const std::function<void(int64_t, const nlohmann::ordered_json&)>& after_step) {
    PretrainCallbacks callbacks;
    callbacks.loss = [&](int64_t step, nlohmann::ordered_json& line) {
        std::vector<const Ids*> batch;
        for (const size_t i : sampler_->batch(step)) batch.push_back(&train_[i]);
        int64_t targets = 0;
        const Tensor l = loss(batch, targets);
        line["loss"] = l.item();
        line["target_tokens"] = targets;
        return l;
    };
    if (!valid_.empty()) callbacks.validate = [&] { return std::vector{validate()}; };
    callbacks.step = after_step;
    const PretrainReport report = pretrain(folder_, model_.parameters(), options_.run, callbacks);
    if (!report.stopped) {
        std::vector<std::pair<std::string, Tensor>> tensors;
        for (const Parameter& p : model_.parameters()) tensors.emplace_back(p.name, p.tensor);
        write_model(folder_.model(), tensors, llama_config_json(model_.config(), /*tied=*/true));
        write_file_atomically(folder_.model() / "tokenizer.json", byte_tokenizer_json() + '\n');
    }
    return report;
}

}  // namespace wavllm
