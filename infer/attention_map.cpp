#include "infer/attention_map.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/tape.h"
#include "tensor/error.h"

namespace wavllm {

namespace {

/// Softmax over the keys that row `row` sees (causal) of scale * q . k, for one head.
void attend(const Tensor& q, const Tensor& k, int64_t row, int64_t head, std::vector<float>& p) {
    const int64_t dh = q.dim(2), kv_head = head / (q.dim(1) / k.dim(1));
    const float* query = q.data<float>() + (row * q.dim(1) + head) * dh;
    p.resize(static_cast<size_t>(row) + 1);
    for (int64_t j = 0; j <= row; ++j) {
        const float* key = k.data<float>() + (j * k.dim(1) + kv_head) * dh;
        p[static_cast<size_t>(j)] = std::inner_product(query, query + dh, key, 0.0f);
    }
    const float scale = 1 / std::sqrt(static_cast<float>(dh)), most = *std::max_element(p.begin(), p.end());
    double sum = 0;
    for (float& x : p) sum += x = std::exp(scale * (x - most));
    for (float& x : p) x = static_cast<float>(x / sum);
}

/// values of one or several maps, averaged.
std::vector<float> mean_of(const AttentionMap& m, std::span<const std::pair<int64_t, int64_t>> heads) {
    std::vector<float> mean(static_cast<size_t>(m.tokens * m.frames));
    for (const auto& [layer, head] : heads)
        for (size_t i = 0; i < mean.size(); ++i) mean[i] += m.map(layer, head)[i] / static_cast<float>(heads.size());
    return mean;
}

}  // namespace

std::vector<float> AttentionMap::layer_mean(int64_t layer) const {
    std::vector<std::pair<int64_t, int64_t>> all;
    for (int64_t h = 0; h < heads; ++h) all.emplace_back(layer, h);
    return mean_of(*this, all);
}

std::vector<float> AttentionMap::sharpest_mean(int64_t count) const {
    std::vector<std::pair<double, std::pair<int64_t, int64_t>>> scores;
    for (int64_t l = 0; l < layers; ++l)
        for (int64_t h = 0; h < heads; ++h) {
            double sum = 0;
            for (int64_t t = 0; t < tokens; ++t)
                sum += *std::max_element(map(l, h) + t * frames, map(l, h) + (t + 1) * frames);
            scores.push_back({-sum, {l, h}});
        }
    std::sort(scores.begin(), scores.end());
    std::vector<std::pair<int64_t, int64_t>> best;
    for (size_t i = 0; i < std::min(scores.size(), static_cast<size_t>(count)); ++i) best.push_back(scores[i].second);
    return mean_of(*this, best);
}

AttentionMap attention_map(const Wavllm& model, const SpeechExample& example, std::span<const int32_t> answer) {
    if (answer.empty() || example.feature_rows() == 0)
        throw ShapeError("attention map: \"{}\" has {} rows of speech and an answer of {} tokens; both are needed",
                         example.id, example.feature_rows(), answer.size());
    NoGrad no_grad;
    SpeechExample answered = example;
    answered.ids.target.assign(answer.begin(), answer.end());
    const SpeechExample* one[] = {&answered};
    const SpeechBatch batch = make_batch(one, true, model.bridge());
    const LlmInput in = model.inputs(batch);
    // the sequence's row of each frame of speech; -1 where the CTC head kept it from the LLM
    std::vector<int64_t> speech(static_cast<size_t>(batch.speech_rows[0]), -1);
    for (int64_t t = 0, n = 0; t < in.plan.plan.numel(); ++t) {
        if (in.plan.plan.data<int32_t>()[t] >= 0) continue;
        speech[static_cast<size_t>(in.kept.defined() ? in.kept.data<int32_t>()[n] : n)] = t;
        ++n;
    }

    const LlamaConfig& config = model.llama().config();
    AttentionMap map{
        config.layers, config.heads, static_cast<int64_t>(answer.size()), static_cast<int64_t>(speech.size()), {}};
    map.weights.reserve(static_cast<size_t>(map.layers * map.heads * map.tokens * map.frames));
    Tensor queries;
    const Observer observer = [&](const std::string& name, const Tensor& value) {
        if (name.ends_with(".queries")) queries = value.to_contiguous().to(Device::cpu);
        if (!name.ends_with(".keys")) return;
        const Tensor keys = value.to_contiguous().to(Device::cpu);
        std::vector<float> p;
        for (int64_t h = 0; h < map.heads; ++h)
            for (int64_t t = 0; t < map.tokens; ++t) {
                const int64_t row = in.plan.target_rows.data<int32_t>()[t];
                attend(queries, keys, row, h, p);
                for (int64_t s : speech) map.weights.push_back(s >= 0 && s <= row ? p[static_cast<size_t>(s)] : 0);
            }
    };
    LlamaPass pass;
    pass.borders = in.plan.borders;
    pass.positions = in.plan.positions;
    pass.observer = &observer;
    model.run(in.x, pass, model.lora_run(in.plan));
    return map;
}

std::vector<std::pair<int64_t, int64_t>> align_to_ctc(std::span<const int32_t> answer,
                                                      std::span<const int32_t> ctc_tokens,
                                                      std::span<const int64_t> ctc_rows) {
    const size_t n = answer.size(), m = ctc_tokens.size();
    std::vector<size_t> longest((n + 1) * (m + 1));  // of the rests from i and j
    const auto at = [&](size_t i, size_t j) -> size_t& { return longest[i * (m + 1) + j]; };
    for (size_t i = n; i-- > 0;)
        for (size_t j = m; j-- > 0;)
            at(i, j) = answer[i] == ctc_tokens[j] ? at(i + 1, j + 1) + 1 : std::max(at(i + 1, j), at(i, j + 1));
    std::vector<std::pair<int64_t, int64_t>> pairs;
    for (size_t i = 0, j = 0; i < n && j < m;) {
        if (answer[i] == ctc_tokens[j])
            pairs.emplace_back(static_cast<int64_t>(i++), ctc_rows[j++]);
        else if (at(i + 1, j) >= at(i, j + 1))
            ++i;
        else
            ++j;
    }
    return pairs;
}

}  // namespace wavllm
