// What on devices is an error, and that the message names op, tensor and device.

#include "autograd/ops/attention.h"
#include "kernels/add/add.h"
#include "kernels/common/check.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/ctc_loss/ctc_loss.h"
#include "kernels/decode_attention/decode_attention.h"
#include "kernels/embedding/embedding.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/log_mel/log_mel.h"
#include "kernels/lora_linear/lora_linear.h"
#include "kernels/matmul/matmul.h"
#include "kernels/rms_norm/rms_norm.h"
#include "tests/ops/device_support.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

doctest::Contains names(const char* text) {
    return doctest::Contains(text);
}

AttentionLayout causal(int64_t rows) {
    const Tensor borders = kernels::make_borders(std::vector<int64_t>{rows});
    return {borders, borders, AttentionMask::causal, 0.3f, DType::f32};
}

}  // namespace

TEST_CASE("device errors: a CUDA body that is missing is named, with its device; the CPU does not step in") {
    const CudaBody<void()> missing{"glow"};
    CHECK_THROWS_WITH_AS(kernels::on(missing, Device::sim),
                         names("glow: this program has no CUDA body of it for device sim"), UsageError);
    CHECK_THROWS_WITH_AS(kernels::on(missing, Device::cuda),
                         names("glow: this program has no CUDA body of it for device cuda"), UsageError);
    for (const Device device : test_devices())  // an op that was written for the CPU alone reads its tensors so
        CHECK_THROWS_WITH_AS(random({2, 3}).to(device).data<float>(), names(std::string(name(device)).c_str()), Error);
}

TEST_CASE("device errors: tensors of two devices do not mix") {
    for (const Device device : test_devices()) {
        const Tensor cpu = random({3, 8}), there = cpu.to(device), w = random({8});
        const auto must_be_there = fmt::format("add: b is [3, 8] f32, but must be on {}", name(device));
        CHECK_THROWS_WITH_AS(kernels::add(there, cpu), names(must_be_there.c_str()), Error);
        CHECK_THROWS_WITH_AS(kernels::add(cpu, there), names(fmt::format("device {}", name(device)).c_str()), Error);
        CHECK_THROWS_WITH_AS(kernels::layer_norm(there, w, w, 1e-5f), names("layer_norm: weight"), Error);
        CHECK_THROWS_WITH_AS(kernels::rms_norm(there, w, 1e-5f), names("rms_norm: weight"), Error);
        CHECK_THROWS_WITH_AS(kernels::embedding(there, Tensor::full({2}, 3, DType::i32)), names("id 3 at position 0"),
                             Error);
        Tensor x = there.clone();
        set_requires_grad(x);
        const Tensor y = (*derivative("gelu"))(std::vector<Tensor>{x}, {});
        CHECK_THROWS_WITH_AS(backward(y, cpu), names(fmt::format("the result is on {}", name(device)).c_str()), Error);
        clear_tape();
    }
}

TEST_CASE("device errors: products of two devices") {
    const Tensor x = random({3, 8}), w = random({5, 8}), a = random({8, 2}), b = random({2, 5});
    for (const Device device : test_devices()) {
        const Tensor sx = x.to(device), sw = w.to(device);
        const auto must_be_there = fmt::format("matmul: b is [5, 8] f32, but must be on {}", name(device));
        CHECK_THROWS_WITH_AS(kernels::matmul(sx, w, true), names(must_be_there.c_str()), Error);
        CHECK_THROWS_WITH_AS(kernels::linear(sx, w), names(fmt::format("must be on {}", name(device)).c_str()), Error);
        CHECK_THROWS_WITH_AS(kernels::linear(sx, PackedWeight::pack(w)), names("pack the weight for that device"),
                             Error);
        CHECK_THROWS_WITH_AS(kernels::linear(x, PackedWeight::pack(sw)), names("pack the weight for that device"),
                             Error);
        CHECK_THROWS_WITH_AS(kernels::linear(sx, sw, random({5})), names("bias"), Error);
        CHECK_THROWS_WITH_AS(kernels::lora_linear(sx, PackedWeight::pack(sw), a, b.to(device), {}, nullptr),
                             names("lora_a"), Error);
        CHECK_THROWS_WITH_AS(kernels::log_mel(random({800}).to(device), kernels::make_mel_filters(80), 5),
                             names("mel_filters"), Error);
    }
}

TEST_CASE("device errors: attention and losses of two devices") {
    const Tensor x = random({4, 2, 8}), row = random({4, 16});
    const AttentionLayout layout = causal(4);
    for (const Device device : test_devices()) {
        const Tensor there = x.to(device), row_there = row.to(device);
        CHECK_THROWS_WITH_AS(kernels::attention(there, x, there, layout), names("attention: k is"), Error);
        CHECK_THROWS_WITH_AS(kernels::attention(x, x, there, layout), names("attention: v is"), Error);
        const kernels::AttentionForward f = kernels::attention(there, there, there, layout);
        CHECK_THROWS_WITH_AS(kernels::attention_backward(row, there, there, there, f, layout, {true, true}),
                             names("dy is"), Error);
        const Tensor cache = random({4, 3, 2, 8}), lengths = Tensor::from(std::vector<int64_t>{1, 2, 3, 0}, {4});
        CHECK_THROWS_WITH_AS(kernels::decode_attention(there, cache, cache, lengths, 1.0f), names("k_cache is"), Error);
        const Tensor targets = Tensor::from(std::vector<int32_t>{0, 1, 2, 3}, {4});
        CHECK_THROWS_WITH_AS(kernels::cross_entropy_logits_backward(row_there, targets, random({4})),
                             names("dlosses is"), Error);
        const Tensor borders = kernels::make_borders(std::vector<int64_t>{4});
        CHECK_THROWS_WITH_AS(kernels::ctc_loss(row_there, random({4, 1}), borders, targets, borders, 1.0f, false),
                             names("blank_logits is"), Error);
    }
}
