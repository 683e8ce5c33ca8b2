// How the kernels use memory, as the emulator counts it: whole sectors of global memory, no bank conflicts in shared
// memory. Witnesses: what a request must move at least; of the ladders' first steps, what their headers say.

#include <functional>

#include "autograd/ops/attention.h"
#include "kernels/add/add.h"
#include "kernels/cast/cast.h"
#include "kernels/common/check.h"
#include "kernels/contiguous/contiguous_body.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/decode_attention/decode_attention.h"
#include "kernels/dropout/dropout.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gelu/gelu.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/matmul/matmul.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "kernels/rows/rows.h"
#include "kernels/segment_scale/segment_scale.h"
#include "kernels/silu_mul/silu_mul.h"
#include "kernels/simt/counters.h"
#include "kernels/softmax/softmax.h"
#include "kernels/softmax/softmax_body.h"
#include "kernels/sum_all/sum_all.h"
#include "tests/ops/block_weights.h"
#include "tests/ops/device_support.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

Tensor sim(const Tensor& t) {
    return t.to(Device::sim);
}

}  // namespace

TEST_CASE("device counters: rows and elements move hardly more sectors than they need, without bank conflicts") {
    if (!tests_run_on(Device::sim)) return;
    const SimScope scope(true, 0);
    const Tensor x = sim(random({24, 576})), dy = sim(random({24, 576})), w = sim(random({576}));
    const Tensor head = sim(random({24, 9, 64})), positions = random_ids({24}, 50), ids = random_ids({24}, 24);
    const RopeTable table = make_rope_table(50, 64, 10000);
    const RopeTable sim_table{sim(table.cos), sim(table.sin)};
    const Tensor columns = x.transpose(0, 1), r = sim(random({2, 576})),
                 borders = kernels::make_borders(std::vector<int64_t>{10, 14});
    const DropoutKey key{.p = 0.1f, .seed = 1, .row_keys = Tensor::zeros({24}, DType::i64)};
    Tensor dw = Tensor::zeros({576}, DType::f32, Device::sim), dx = Tensor::zeros({24, 576}, DType::f32, Device::sim),
           dr = Tensor::zeros({2, 576}, DType::f32, Device::sim);
    const std::vector<std::pair<std::string, std::function<void()>>> calls = {
        {"add", [&] { kernels::add(x, dy); }},
        {"gelu", [&] { kernels::gelu_backward(dy, x); }},
        {"cast", [&] { kernels::cast(kernels::cast(x, DType::bf16), DType::f32); }},
        {"silu_mul", [&] { kernels::silu_mul(x); }},
        {"dropout", [&] { kernels::dropout(x, key); }},
        {"rope, half split", [&] { kernels::rope(head, positions, sim_table, RopeLayout::half_split); }},
        {"rope, interleaved", [&] { kernels::rope(head, positions, sim_table, RopeLayout::interleaved); }},
        {"gather", [&] { kernels::gather_rows(x, ids); }},
        {"gather backward", [&] { kernels::gather_rows_backward(dy, ids, dx); }},
        {"embedding", [&] { kernels::embedding(x, ids); }},
        {"softmax", [&] { kernels::softmax_backward(dy, kernels::softmax(x)); }},
        {"layer_norm", [&] { kernels::layer_norm(x, w, w, 1e-5f); }},
        {"layer_norm backward",
         [&] {
             kernels::layer_norm_backward_x(dy, x, w, 1e-5f);
             kernels::layer_norm_backward_w(dy, x, 1e-5f, dw);
             kernels::layer_norm_backward_b(dy, dw);
         }},
        {"rms_norm", [&] { kernels::rms_norm(x, w, 1e-5f); }},
        {"rms_norm backward",
         [&] {
             kernels::rms_norm_backward_x(dy, x, w, 1e-5f);
             kernels::rms_norm_backward_w(dy, x, 1e-5f, dw);
         }},
        {"segment_scale",
         [&] {
             kernels::segment_scale(x, r, borders);
             kernels::segment_scale_backward_r(dy, x, borders, dr);
         }},
        {"sum_all", [&] { kernels::sum_all(x); }},
        {"transpose", [&] { columns.to_contiguous(); }},
    };
    for (const auto& [name, call] : calls) {
        CAPTURE(name);
        const simt::Recording recording;
        call();
        const simt::Counters total = recording.total();
        CHECK(total.load_requests + total.store_requests > 0);
        CHECK(total.sector_ratio() <= 1.05);
        CHECK(total.bank_conflicts() == 0);
    }
}

TEST_CASE("device counters: products move whole sectors without bank conflicts") {
    if (!tests_run_on(Device::sim)) return;
    const SimScope scope(true, 0);
    const Tensor x = sim(random({256, 256})), row = sim(random({1, 256})), w = random({256, 256});
    const PackedWeight f32 = PackedWeight::pack(w, DType::f32, Device::sim),
                       bf16 = PackedWeight::pack(w, DType::bf16, Device::sim);
    Tensor dw = Tensor::zeros({256, 256}, DType::f32, Device::sim);
    const simt::Recording recording;
    for (const Tensor& left : {x, row})
        for (const PackedWeight* right : {&f32, &bf16}) {
            kernels::linear(left, *right);
            kernels::linear_backward_x(left, *right);
        }
    for (const DType products : {DType::f32, DType::bf16}) kernels::matmul_backward_b(x, x, false, dw, products);
    const size_t plain = recording.launches().size();
    // Lines of blocks begin anywhere in a sector, and a slice of one is 40 bytes or 68: their sectors are not all whole.
    for (const DType dtype : {DType::q4_1, DType::q8_0}) {
        const PackedWeight blocks = PackedWeight::pack(in_blocks_of(dtype, 256, 256), DType::bf16, Device::sim);
        kernels::linear(x, blocks);
        kernels::linear(row, blocks);
        kernels::linear_backward_x(x, blocks);
    }
    CHECK(plain > 0);
    for (size_t i = 0; i < recording.launches().size(); ++i) {
        const simt::LaunchReport& l = recording.launches()[i];
        CAPTURE(i);
        CAPTURE(l.kernel);
        CHECK(l.counters.bank_conflicts() == 0);
        CHECK(l.counters.sector_ratio() <= (i < plain ? 1.05 : 1.3));
    }
}

TEST_CASE("device counters: attention and losses move whole sectors without bank conflicts") {
    if (!tests_run_on(Device::sim)) return;
    const SimScope scope(true, 0);
    const simt::Recording recording;
    for (const DType products : {DType::f32, DType::bf16})
        for (const int64_t dh : {64, 128}) {
            const Tensor q = sim(random({70, 2, dh})), k = sim(random({70, 1, dh})), dy = sim(random({70, 2 * dh})),
                         borders = kernels::make_borders(std::vector<int64_t>{70});
            const AttentionLayout layout{borders, borders, AttentionMask::causal, 0.3f, products};
            const kernels::AttentionForward f = kernels::attention(q, k, k, layout);
            kernels::attention_backward(dy, q, k, k, f, layout, {true, true});
        }
    const Tensor cache = sim(random({2, 130, 3, 64}));
    kernels::decode_attention(sim(random({2, 9, 64})), cache, cache, Tensor::from(std::vector<int64_t>{130, 100}, {2}),
                              0.1f);
    const Tensor logits = sim(random({3, 5000})), ids = random_ids({3}, 5000);
    kernels::cross_entropy_logits(logits, ids);
    kernels::cross_entropy_logits_backward(logits, ids, sim(random({3})));
    CHECK(recording.launches().size() > 0);
    for (const simt::LaunchReport& r : recording.launches()) {
        CAPTURE(r.kernel);
        CHECK(r.counters.bank_conflicts() == 0);
        CHECK(r.counters.sector_ratio() < 1.06);
    }
}

TEST_CASE("device counters: what the first steps of the ladders cost") {
    if (!tests_run_on(Device::sim)) return;
    const SimScope scope(true, 0);
    Tensor y = Tensor::empty({64, 576}, DType::f32, Device::sim);
    const Tensor rows = sim(random({64, 576}));
    {
        const simt::Recording recording;
        kernels::on(kernels::softmax_naive_body, Device::sim)(rows.device_data<float>(), y.mutable_device_data<float>(),
                                                              64, 576);
        CHECK(recording.total().sector_ratio() == doctest::Approx(8));
    }
    {
        const simt::Recording recording;
        kernels::on(kernels::contiguous_naive_body, Device::sim)(
            rows.device_raw(), {.rank = 2, .size = {576, 64}, .stride = {1, 576}}, 4, y.mutable_device_raw());
        CHECK(recording.total().sector_ratio() > 4);  // the loads; its stores are ideal
    }
}
