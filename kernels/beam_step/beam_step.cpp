#include "kernels/beam_step/beam_step.h"

#include "kernels/beam_step/beam_step_body.h"
#include "kernels/beam_step/beam_step_f64.h"
#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/sample/weights_row.h"
#include "tensor/thread_pool.h"

namespace wavllm::kernels {

BeamStep beam_step(const Tensor& logits, const Tensor& scores, const Tensor& borders, int64_t k) {
    const Device device = logits.device();
    const DType dtype = f64::runs(logits) ? DType::f64 : DType::f32;
    expect("beam_step", "logits", logits, dtype, device);
    if (logits.rank() != 2 || logits.dim(1) < 1 || logits.dim(1) > kMaxLogits)
        throw ShapeError("beam_step: logits must be [N, V] with V from 1 to {}, but are {}", kMaxLogits,
                         logits.describe());
    const int64_t rows = logits.dim(0), n = logits.dim(1);
    expect("beam_step", "scores", scores, {rows}, dtype, device);
    const auto b = borders_of("beam_step", borders, rows);
    const auto requests = static_cast<int64_t>(b.size()) - 1;
    if (k < 1) throw ShapeError("beam_step: k must be 1 or more, but is {}", k);
    for (size_t r = 0; r + 1 < b.size(); ++r)
        if ((b[r + 1] - b[r]) * n < k)
            throw ShapeError("beam_step: request {} has {} beams with {} tokens each, fewer than k = {} continuations",
                             r, b[r + 1] - b[r], n, k);
    if (dtype == DType::f64) return f64::beam_step(logits, scores, b, k);
    BeamStep result{Tensor::empty({requests, k}, DType::i32, device), Tensor::empty({requests, k}, DType::i32, device),
                    Tensor::empty({requests, k}, DType::f32, device)};
    if (requests == 0) return result;
    if (device != Device::cpu) {
        Tensor candidates = workspace({rows, k, sizeof(BeamCandidate) / sizeof(float)}, device);
        on(beam_step_body, device)({.logits = logits.device_data<float>(),
                                    .scores = scores.device_data<float>(),
                                    .borders = borders.mirror(device).device_data<int64_t>(),
                                    .rows = rows,
                                    .n = n,
                                    .requests = requests,
                                    .k = k,
                                    .candidates = static_cast<BeamCandidate*>(candidates.mutable_device_raw())},
                                   result.parents.mutable_device_data<int32_t>(),
                                   result.tokens.mutable_device_data<int32_t>(),
                                   result.scores.mutable_device_data<float>());
        return result;
    }
    const float *pz = logits.data<float>(), *ps = scores.data<float>();
    auto *parents = result.parents.mutable_data<int32_t>(), *tokens = result.tokens.mutable_data<int32_t>();
    auto* best = result.scores.mutable_data<float>();
    parallel_for(requests, 1, [&](int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r) {
            const auto request = static_cast<size_t>(r);
            int64_t count = 0;
            for (int64_t row = b[request]; row < b[request + 1]; ++row) {
                const float* z = pz + row * n;
                const LogSoftmax l = log_softmax_of(z, n);
                for (int64_t v = 0; v < n; ++v) {
                    // behind all that are at least as good: they came before
                    const float score = ps[row] + l.at(z[v]);
                    int64_t at = count;
                    while (at > 0 && sort_key(best[r * k + at - 1]) < sort_key(score)) --at;
                    if (at == k) continue;
                    if (count < k) ++count;
                    for (int64_t i = r * k + count - 1; i > r * k + at; --i) {
                        best[i] = best[i - 1];
                        parents[i] = parents[i - 1];
                        tokens[i] = tokens[i - 1];
                    }
                    best[r * k + at] = score;
                    parents[r * k + at] = static_cast<int32_t>(row);
                    tokens[r * k + at] = static_cast<int32_t>(v);
                }
            }
        }
    });
    return result;
}

}  // namespace wavllm::kernels
