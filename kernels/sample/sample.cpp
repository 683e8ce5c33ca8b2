#include "kernels/sample/sample.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/sample/sample_body.h"
#include "kernels/sample/weights_row.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

namespace {

void check(const Tensor& logits, const Sampling& s, const Tensor& requests, const Tensor& positions) {
    expect("sample", "logits", logits, DType::f32, logits.device());
    if (logits.rank() != 2 || logits.dim(1) < 1 || logits.dim(1) > kMaxLogits)
        throw ShapeError("sample: logits must be [N, V] with V from 1 to {}, but are {}", kMaxLogits,
                         logits.describe());
    expect("sample", "requests", requests, {logits.dim(0)}, DType::i64);
    expect("sample", "positions", positions, {logits.dim(0)}, DType::i64);
    if (!(s.temperature >= 0 && std::isfinite(s.temperature)))
        throw UsageError("sample: temperature must be 0 (greedy) or more, but is {}", s.temperature);
    if (s.top_k < 0) throw UsageError("sample: top_k must be 0 (all) or more, but is {}", s.top_k);
    if (!(s.top_p > 0 && s.top_p <= 1))
        throw UsageError("sample: top_p must be above 0 and at most 1 (all), but is {}", s.top_p);
    for (int64_t i = 0; i < positions.numel(); ++i)
        if (const int64_t at = positions.data<int64_t>()[i]; at < 0 || at > std::numeric_limits<uint32_t>::max())
            throw ShapeError("sample: position {} of row {} is not between 0 and 2^32 - 1", at, i);
}

/// The key that a logit must reach to be kept.
uint32_t cut_of(const float* z, int64_t n, float largest, float factor, const Sampling& s) {
    uint32_t cut = 0;
    if (s.top_k > 0 && s.top_k < n) {
        std::vector<uint32_t> keys(static_cast<size_t>(n));
        std::transform(z, z + n, keys.begin(), sort_key);
        const auto kth = keys.begin() + (s.top_k - 1);
        std::nth_element(keys.begin(), kth, keys.end(), std::greater<>());
        cut = *kth;
    }
    if (s.top_p >= 1) return cut;
    struct Candidate {
        uint32_t key;
        uint64_t weight;
    };
    std::vector<Candidate> candidates;
    uint64_t total = 0, mass = 0;
    for_weights(z, n, largest, factor, [&](int64_t i, uint64_t w) {
        if (w == 0 || sort_key(z[i]) < cut) return;
        candidates.push_back({sort_key(z[i]), w});
        total += w;
    });
    const uint64_t target = nucleus_target(static_cast<double>(s.top_p), total);
    std::sort(candidates.begin(), candidates.end(),
              [](const Candidate& a, const Candidate& b) { return a.key > b.key; });
    for (const Candidate& c : candidates) {
        mass += c.weight;
        if (mass >= target) return c.key;
    }
    return cut;
}

int64_t draw(const float* z, int64_t n, float largest, float factor, const Sampling& s, uint64_t bits) {
    const uint32_t cut = cut_of(z, n, largest, factor, s);
    uint64_t total = 0, sum = 0;
    for_weights(z, n, largest, factor, [&](int64_t i, uint64_t w) { total += sort_key(z[i]) >= cut ? w : 0; });
    __extension__ typedef unsigned __int128 Wide;
    const auto place = static_cast<uint64_t>(static_cast<Wide>(bits) * total >> 64);  // in [0, total)
    int64_t id = -1;
    for_weights(z, n, largest, factor, [&](int64_t i, uint64_t w) {
        sum += sort_key(z[i]) >= cut ? w : 0;
        if (id < 0 && sum > place) id = i;
    });
    return id;
}

}  // namespace

Sampled sample(const Tensor& logits, const Sampling& s, const Tensor& requests, const Tensor& positions) {
    check(logits, s, requests, positions);
    const Device device = logits.device();
    const int64_t rows = logits.dim(0), n = logits.dim(1);
    Sampled result{Tensor::empty({rows}, DType::i32, device), Tensor::empty({rows}, DType::f32, device)};
    if (rows == 0) return result;
    const bool greedy = s.temperature == 0;
    const float factor = greedy ? 0 : 1 / s.temperature;
    const uint32_t purpose = purpose_hash("sample");
    if (device != Device::cpu) {
        on(sample_body, device)({.logits = logits.device_data<float>(),
                                 .rows = rows,
                                 .n = n,
                                 .requests = greedy ? nullptr : requests.mirror(device).device_data<int64_t>(),
                                 .positions = greedy ? nullptr : positions.mirror(device).device_data<int64_t>(),
                                 .inverse_temperature = factor,
                                 .top_k = s.top_k,
                                 .top_p = static_cast<double>(s.top_p),
                                 .seed = s.seed,
                                 .purpose = purpose},
                                result.ids.mutable_device_data<int32_t>(),
                                result.log_probs.mutable_device_data<float>());
        return result;
    }
    const float* pz = logits.data<float>();
    const int64_t *pr = requests.data<int64_t>(), *pp = positions.data<int64_t>();
    auto* ids = result.ids.mutable_data<int32_t>();
    auto* log_probs = result.log_probs.mutable_data<float>();
    parallel_for(rows, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
            const float* z = pz + row * n;
            const LogSoftmax l = log_softmax_of(z, n);
            const bool good = std::isfinite(l.largest);
            int64_t id = good ? l.first_largest : -1;
            if (good && !greedy)
                id = draw(z, n, l.largest, factor, s,
                          draw_bits(s.seed, purpose, static_cast<uint64_t>(pr[row]), static_cast<uint32_t>(pp[row])));
            ids[row] = static_cast<int32_t>(id);
            log_probs[row] = good ? l.at(z[id]) : std::numeric_limits<float>::quiet_NaN();
        }
    });
    return result;
}

}  // namespace wavllm::kernels
