// Ops on devices where rows do not lie as usual: views that begin off 16 bytes, no rows at all, rows longer than a warp
// takes, rows alone and among others, batches in pieces. Witness: the CPU, or the same computed in one piece.

#include "autograd/ops/attention.h"
#include "kernels/add/add.h"
#include "kernels/cast/cast.h"
#include "kernels/common/check.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/ctc_loss/ctc_loss.h"
#include "kernels/decode_attention/decode_attention.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gelu/gelu.h"
#include "kernels/glu/glu.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/matmul/matmul.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rows/rows.h"
#include "kernels/segment_scale/segment_scale.h"
#include "kernels/silu_mul/silu_mul.h"
#include "kernels/softmax/softmax.h"
#include "kernels/sum_all/sum_all.h"
#include "kernels/weighted_sum/weighted_sum.h"
#include "tests/ops/device_support.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

/// A tensor of that shape which begins `off` floats behind a multiple of 256 bytes.
Tensor shifted(const Shape& shape, Device device, int64_t off = 1) {
    return random({1, shape.numel() + off}).to(device).slice(1, off, off + shape.numel()).reshape(shape);
}

AttentionLayout layout_of(const std::vector<int64_t>& q, const std::vector<int64_t>& k, DType products = DType::f32) {
    return {kernels::make_borders(q), kernels::make_borders(k), AttentionMask::causal, 0.3f, products};
}

}  // namespace

TEST_CASE("device views: tensors that begin anywhere") {
    const SimScope scope(true, 3);
    for (const Device device : test_devices()) {
        const auto here = [](const Tensor& t) { return t.to(Device::cpu); };
        for (const int64_t off : {1, 2}) {
            const Tensor x = shifted({3, 40}, device, off), y = shifted({3, 40}, device, off),
                         w = shifted({40}, device, off);
            const Tensor cx = here(x), cy = here(y), cw = here(w);
            CHECK(same_bits(kernels::gelu(x), kernels::gelu(cx)));
            CHECK(same_bits(kernels::glu(x), kernels::glu(cx)));
            CHECK(same_bits(kernels::silu_mul(x), kernels::silu_mul(cx)));
            CHECK(same_bits(kernels::add(x, y), kernels::add(cx, cy)));
            CHECK(same_bits(kernels::cast(x, DType::bf16), kernels::cast(cx, DType::bf16)));
            CHECK(same_bits(kernels::matmul(x, y, true), kernels::matmul(cx, cy, true)));
            CHECK(difference(kernels::matmul(x, y, true, DType::bf16), kernels::matmul(cx, cy, true, DType::bf16)) <
                  1e-5);
            CHECK(difference(kernels::sum_all(x), kernels::sum_all(cx)) < 1e-6);
            CHECK(difference(kernels::softmax(x), kernels::softmax(cx)) < 2e-6);
            CHECK(difference(kernels::softmax_backward(x, y), kernels::softmax_backward(cx, cy)) < 1e-5);
            CHECK(difference(kernels::layer_norm(x, w, w, 1e-5f), kernels::layer_norm(cx, cw, cw, 1e-5f)) < 2e-6);
            CHECK(difference(kernels::layer_norm_backward_x(y, x, w, 1e-5f),
                             kernels::layer_norm_backward_x(cy, cx, cw, 1e-5f)) < 1e-5);
            CHECK(difference(kernels::rms_norm(x, w, 1e-5f), kernels::rms_norm(cx, cw, 1e-5f)) < 2e-6);
            CHECK(difference(kernels::rms_norm_backward_x(y, x, w, 1e-5f),
                             kernels::rms_norm_backward_x(cy, cx, cw, 1e-5f)) < 1e-5);
            Tensor dw = Tensor::zeros({40}, DType::f32, device), cdw = Tensor::zeros({40});
            kernels::rms_norm_backward_w(y, x, 1e-5f, dw);
            kernels::rms_norm_backward_w(cy, cx, 1e-5f, cdw);
            CHECK(difference(dw, cdw) < 1e-5);
            const Tensor ids = Tensor::from(std::vector<int32_t>{2, 0, 39}, {3});
            CHECK(difference(kernels::cross_entropy_logits(x, ids), kernels::cross_entropy_logits(cx, ids)) < 2e-6);
            const Tensor dl = shifted({3}, device, off);
            CHECK(difference(kernels::cross_entropy_logits_backward(x, ids, dl),
                             kernels::cross_entropy_logits_backward(cx, ids, here(dl))) < 1e-5);
            const Tensor blank = shifted({3, 1}, device, off), rows = kernels::make_borders(std::vector<int64_t>{3}),
                         target = Tensor::from(std::vector<int32_t>{5, 7}, {2}),
                         ends = kernels::make_borders(std::vector<int64_t>{2});
            const auto ctc = kernels::ctc_loss(x, blank, rows, target, ends, 1.0f, true),
                       cpu_ctc = kernels::ctc_loss(cx, here(blank), rows, target, ends, 1.0f, true);
            CHECK(difference(ctc.losses, cpu_ctc.losses) < 2e-6);
            CHECK(difference(ctc.dtokens, cpu_ctc.dtokens) < 1e-5);

            const Tensor q = shifted({5, 2, 8}, device, off), dy = shifted({5, 16}, device, off);
            for (const DType products : {DType::f32, DType::bf16}) {
                const AttentionLayout layout = layout_of({5}, {5}, products);
                const double tolerance = products == DType::bf16 ? 0x1p-6 : 1e-5;
                const auto f = kernels::attention(q, q, q, layout),
                           cf = kernels::attention(here(q), here(q), here(q), layout);
                CHECK(difference(f.y, cf.y) < tolerance);
                const auto g = kernels::attention_backward(dy, q, q, q, f, layout, {true, true}),
                           cg = kernels::attention_backward(here(dy), here(q), here(q), here(q), cf, layout,
                                                            {true, true});
                CHECK(difference(g.dq, cg.dq) < tolerance);
                CHECK(difference(g.dk, cg.dk) < tolerance);
                CHECK(difference(g.dv, cg.dv) < tolerance);
            }
            const Tensor cache = shifted({2, 9, 1, 8}, device, off), query = shifted({2, 2, 8}, device, off),
                         lengths = Tensor::from(std::vector<int64_t>{9, 4}, {2});
            CHECK(difference(kernels::decode_attention(query, cache, cache, lengths, 0.3f),
                             kernels::decode_attention(here(query), here(cache), here(cache), lengths, 0.3f)) < 1e-5);
        }
    }
}

TEST_CASE("device views: copies of strided views") {
    const SimScope scope(true, 0);
    for (const Device device : test_devices()) {
        const Tensor x = random({3, 40, 37}), there = x.to(device);
        CHECK(same_bits(there.transpose(0, 2).to_contiguous(), x.transpose(0, 2).to_contiguous()));
        CHECK(same_bits(there.slice(1, 3, 30).to_contiguous(), x.slice(1, 3, 30).to_contiguous()));
        CHECK(same_bits(there.to(DType::bf16), x.to(DType::bf16)));
        CHECK_THROWS_WITH_AS(there.to(DType::f64),
                             doctest::Contains(fmt::format("cast: [3, 40, 37] f32 on {} to f64", name(device)).c_str()),
                             DTypeError);
    }
}

TEST_CASE("device views: no rows are no launch") {
    const SimScope scope(true, 0);
    for (const Device device : test_devices()) {
        const Tensor x = Tensor::empty({0, 8}, DType::f32, device), w = random({8}).to(device);
        CHECK(kernels::rms_norm(x, w, 1e-5f).numel() == 0);
        CHECK(kernels::rms_norm_backward_x(x, x, w, 1e-5f).numel() == 0);
        CHECK(kernels::layer_norm(x, w, w, 1e-5f).numel() == 0);
        CHECK(kernels::layer_norm_backward_x(x, x, w, 1e-5f).numel() == 0);
        CHECK(kernels::softmax(x).numel() == 0);
        CHECK(kernels::gelu(x).numel() == 0);
        CHECK(kernels::silu_mul(x).numel() == 0);
        CHECK(kernels::linear(x, random({5, 8}).to(device)).numel() == 0);
        CHECK(kernels::linear_backward_x(x, random({8, 5}).to(device)).numel() == 0);
        CHECK(kernels::cross_entropy_logits(x, Tensor::empty({0}, DType::i32)).numel() == 0);
        CHECK(kernels::embedding(random({3, 8}).to(device), Tensor::empty({0}, DType::i32)).numel() == 0);
        CHECK(kernels::sum_all(x).values() == std::vector<double>{0});
        CHECK(kernels::weighted_sum(Tensor::empty({3, 0, 8}, DType::f32, device), random({3}).to(device)).numel() == 0);
        Tensor dw = w.clone();
        kernels::rms_norm_backward_w(x, x, 1e-5f, dw);
        kernels::layer_norm_backward_w(x, x, 1e-5f, dw);
        kernels::layer_norm_backward_b(x, dw);
        kernels::linear_backward_bias(x, dw);
        CHECK(same_bits(dw, w));
        Tensor dweight = Tensor::zeros({8, 8}, DType::f32, device);
        kernels::linear_backward_w(x, x, dweight);
        CHECK(dweight.values() == std::vector<double>(64));
        const Tensor q = Tensor::empty({0, 2, 4}, DType::f32, device), k = random({3, 1, 4}).to(device);
        for (const DType products : {DType::f32, DType::bf16}) {
            const auto f = kernels::attention(q, k, k, layout_of({0}, {3}, products));
            CHECK(f.y.numel() == 0);
            const auto g = kernels::attention_backward(Tensor::empty({0, 8}, DType::f32, device), q, k, k, f,
                                                       layout_of({0}, {3}, products), {true, true});
            CHECK(g.dk.values() == std::vector<double>(12));
        }
        CHECK(kernels::decode_attention(
                  Tensor::empty({0, 2, 4}, DType::f32, device), Tensor::empty({0, 5, 1, 4}, DType::f32, device),
                  Tensor::empty({0, 5, 1, 4}, DType::f32, device), Tensor::empty({0}, DType::i64), 1.0f)
                  .numel() == 0);
    }
}

TEST_CASE("device views: rows longer than a warp takes") {
    const SimScope scope(true, 3);
    for (const Device device : test_devices())
        for (const int64_t d : {1028, 3001}) {
            const Tensor x = random({3, d}, 2, 1), w = random({d}), b = random({d}), dy = random({3, d});
            const Tensor sx = x.to(device), sw = w.to(device), sb = b.to(device), sdy = dy.to(device);
            const Tensor y = kernels::softmax(x);
            CHECK(difference(kernels::softmax(sx), y) < 2e-6);
            CHECK(difference(kernels::softmax_backward(sdy, y.to(device)), kernels::softmax_backward(dy, y)) < 1e-5);
            CHECK(difference(kernels::layer_norm(sx, sw, sb, 1e-5f), kernels::layer_norm(x, w, b, 1e-5f)) < 2e-6);
            CHECK(difference(kernels::layer_norm_backward_x(sdy, sx, sw, 1e-5f),
                             kernels::layer_norm_backward_x(dy, x, w, 1e-5f)) < 1e-5);
            CHECK(difference(kernels::rms_norm(sx, sw, 1e-5f), kernels::rms_norm(x, w, 1e-5f)) < 2e-6);
            CHECK(difference(kernels::rms_norm_backward_x(sdy, sx, sw, 1e-5f),
                             kernels::rms_norm_backward_x(dy, x, w, 1e-5f)) < 1e-5);
        }
}

TEST_CASE("device views: a row has the same bits alone and among others") {
    const SimScope scope(false, 0);
    for (const Device device : test_devices()) {
        const Tensor rows = random({9, 576}).to(device), weight = random({576}).to(device);
        const Tensor row = rows.slice(0, 4, 5);
        CHECK(same_bits(kernels::softmax(rows).slice(0, 4, 5), kernels::softmax(row)));
        CHECK(same_bits(kernels::rms_norm(rows, weight, 1e-5f).slice(0, 4, 5), kernels::rms_norm(row, weight, 1e-5f)));
        CHECK(same_bits(kernels::layer_norm(rows, weight, weight, 1e-5f).slice(0, 4, 5),
                        kernels::layer_norm(row, weight, weight, 1e-5f)));

        const Tensor w = random({72, 96}, 0.1), x = random({150, 96});
        for (const DType dtype : {DType::f32, DType::bf16}) {
            const PackedWeight packed = PackedWeight::pack(w, dtype, device);
            const Tensor all = kernels::linear(x.to(device), packed);
            for (const int64_t some : {1, 16, 17, 65, 130})  // tiles of 16, 64 and 128 rows
                CHECK(same_bits(kernels::linear(x.slice(0, 0, some).to(device), packed), all.slice(0, 0, some)));
        }
    }
}

TEST_CASE("device views: attention of a sequence has the same bits alone and among others") {
    const SimScope scope(false, 1);
    const std::vector<int64_t> queries{5, 1, 70, 0, 131}, keys{5, 40, 97, 2, 131};
    const Tensor q = random({207, 4, 12}), k = random({275, 2, 12}), v = random({275, 2, 12}), dy = random({207, 48});
    for (const Device device : test_devices())
        for (const DType products : {DType::f32, DType::bf16}) {
            const auto run = [&](int64_t q0, int64_t q1, int64_t k0, int64_t k1, const AttentionLayout& layout) {
                const auto part = [&](const Tensor& t, int64_t a, int64_t b) { return t.slice(0, a, b).to(device); };
                const Tensor sq = part(q, q0, q1), sk = part(k, k0, k1), sv = part(v, k0, k1);
                const kernels::AttentionForward f = kernels::attention(sq, sk, sv, layout);
                const kernels::AttentionGradients g =
                    kernels::attention_backward(part(dy, q0, q1), sq, sk, sv, f, layout, {true, true});
                return std::vector<Tensor>{f.y, g.dq, g.dk, g.dv};
            };
            const std::vector<Tensor> all = run(0, 207, 0, 275, layout_of(queries, keys, products));
            int64_t q0 = 0, k0 = 0;
            for (size_t s = 0; s < queries.size(); ++s) {
                CAPTURE(s);
                const int64_t q1 = q0 + queries[s], k1 = k0 + keys[s];
                const std::vector<Tensor> alone = run(q0, q1, k0, k1, layout_of({queries[s]}, {keys[s]}, products));
                for (size_t i = 0; i < alone.size(); ++i)
                    CHECK(same_bits(alone[i], i < 2 ? all[i].slice(0, q0, q1) : all[i].slice(0, k0, k1)));
                q0 = q1;
                k0 = k1;
            }
        }
}

TEST_CASE("device views: gradients of weights are the same bits however the rows are cut into batches") {
    const SimScope scope(false, 2);
    const int64_t rows = 150, d = 70;
    for (const Device device : test_devices()) {
        const Tensor x = random({rows, d}).to(device), dy = random({rows, d}).to(device);
        const auto sums = [&](std::vector<int64_t> cuts) {
            Tensor rms = Tensor::zeros({d}, DType::f32, device), w = rms.clone(), b = rms.clone(), bias = rms.clone();
            for (size_t i = 0; i + 1 < cuts.size(); ++i) {
                const Tensor px = x.slice(0, cuts[i], cuts[i + 1]), pdy = dy.slice(0, cuts[i], cuts[i + 1]);
                kernels::rms_norm_backward_w(pdy, px, 1e-5f, rms);
                kernels::layer_norm_backward_w(pdy, px, 1e-5f, w);
                kernels::layer_norm_backward_b(pdy, b);
                kernels::linear_backward_bias(pdy, bias);
            }
            return std::vector<Tensor>{rms, w, b, bias};
        };
        const std::vector<Tensor> whole = sums({0, rows}), pieces = sums({0, 1, 8, 70, 71, 134, rows});
        for (size_t i = 0; i < whole.size(); ++i) CHECK(same_bits(whole[i], pieces[i]));
        for (const DType products : {DType::f32, DType::bf16}) {
            Tensor all = Tensor::zeros({d, d}, DType::f32, device), parts = all.clone();
            kernels::matmul_backward_b(dy, x, false, all, products);
            for (const auto& [begin, end] : {std::pair{0, 32}, std::pair{32, 48}, std::pair{48, 150}})
                kernels::matmul_backward_b(dy.slice(0, begin, end), x.slice(0, begin, end), false, parts, products);
            CHECK(same_bits(all, parts));
        }
        // ... and of one vector a request: segments of no row, of a few, and of more than a block brings at once
        const std::vector<int64_t> lengths{0, 3, 140, 0, 7};
        const Tensor borders = kernels::make_borders(lengths);
        Tensor dr = Tensor::zeros({5, d}, DType::f32, device), cpu = Tensor::zeros({5, d});
        kernels::segment_scale_backward_r(dy, x, borders, dr);
        kernels::segment_scale_backward_r(dy.to(Device::cpu), x.to(Device::cpu), borders, cpu);
        CHECK(same_bits(dr, cpu));
    }
}
