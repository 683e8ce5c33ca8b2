#include "kernels/cache_append/cache_append.h"
#include "kernels/common/check.h"
#include "kernels/common/op_case.h"

namespace wavllm {

namespace {

/// The result of a case: both caches [2, B, capacity, Hkv, Dh], so that what must stay is looked at too.
Tensor appended(Inputs in, const Params& p) {
    Tensor caches = in[2].clone();
    const Tensor borders = kernels::make_borders(p.list("rows"));
    const std::vector<int64_t>& lengths = p.list("lengths");
    Tensor held = Tensor::from(lengths, {static_cast<int64_t>(lengths.size())});
    if (p.flag("lengths there")) held = held.to(caches.device());
    // heads [1, 1 + Hkv) of rows with two heads more: strided, as parts of one product are
    const auto source = [&](const Tensor& t) { return p.flag("strided") ? t.slice(1, 1, t.dim(1) - 1) : t; };
    kernels::cache_append(source(in[0]), source(in[1]), borders, held, caches.select(0, 0), caches.select(0, 1));
    return caches;
}

Array64 reference(Inputs64 in, const Params& p) {
    Array64 y = in[2];
    const int64_t requests = y.shape[1], capacity = y.shape[2], heads = y.shape[3], dh = y.shape[4],
                  skipped = p.flag("strided") ? 1 : 0, in_heads = in[0].shape[1];
    int64_t row = 0;
    for (int64_t b = 0; b < requests; ++b) {
        const int64_t rows = p.list("rows")[static_cast<size_t>(b)],
                      before = p.list("lengths")[static_cast<size_t>(b)] - rows;
        for (int64_t t = 0; t < rows; ++t, ++row)
            for (int64_t side = 0; side < 2; ++side)
                for (int64_t i = 0; i < heads * dh; ++i)
                    y[((side * requests + b) * capacity + before + t) * heads * dh + i] =
                        in[static_cast<size_t>(side)][(row * in_heads + skipped) * dh + i];
    }
    return y;
}

}  // namespace

OP_CASES(cache_append) {
    op.has_gradient = false;
    op.same_bits = true;
    op.forward = appended;
    op.reference = reference;

    struct Kind {
        bool strided = false, lengths_there = false, bench = false;
    };
    const auto one = [&](const char* name, const std::vector<int64_t>& rows, const std::vector<int64_t>& lengths,
                         int64_t capacity, int64_t heads, int64_t dh, Kind kind) {
        int64_t t = 0;
        for (int64_t n : rows) t += n;
        const Shape source{t, heads + (kind.strided ? 2 : 0), dh};
        Params params{{"strided", kind.strided}, {"lengths there", kind.lengths_there}};
        params.list("rows", rows).list("lengths", lengths);
        op.add({.name = name,
                .inputs = {random(source), random(source),
                           random({2, static_cast<int64_t>(rows.size()), capacity, heads, dh})},
                .params = params,
                .bytes = 16.0 * static_cast<double>(t * heads * dh),
                .bench = kind.bench});
    };
    one("one row into an empty cache", {1}, {1}, 3, 1, 8, {});
    one("a step of four, one of them full", {1, 1, 1, 1}, {5, 1, 9, 3}, 9, 3, 64, {});
    one("a step, lengths on the device", {1, 1, 1}, {2, 7, 4}, 8, 2, 16, {.lengths_there = true});
    one("prompts of mixed lengths behind others", {3, 0, 5}, {4, 6, 5}, 8, 2, 12, {});
    one("no multiple of four", {2, 1}, {2, 3}, 4, 3, 5, {});
    one("strided rows", {2, 1}, {5, 1}, 6, 2, 8, {.strided = true});
    one("more than one chunk", {300, 200}, {301, 200}, 310, 2, 64, {});
    one("no rows", {0, 0}, {2, 0}, 3, 2, 8, {});
    one("smollm2, a step of 8", std::vector<int64_t>(8, 1), std::vector<int64_t>(8, 400), 512, 3, 64, {.bench = true});
    one("7b, a step of 8", std::vector<int64_t>(8, 1), std::vector<int64_t>(8, 400), 512, 32, 128, {.bench = true});
}

}  // namespace wavllm
