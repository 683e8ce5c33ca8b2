// Losses and softmax on devices where their cases do not go: infinities and NaN, long targets. Witnesses: what the
// contracts say, and the CPU.

#include <limits>

#include "kernels/common/check.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/ctc_loss/ctc_loss.h"
#include "kernels/ctc_loss/ctc_loss_body.h"
#include "kernels/softmax/softmax.h"
#include "tests/ops/device_support.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

Tensor with(Tensor t, std::initializer_list<std::pair<int64_t, float>> values) {
    for (const auto& [at, value] : values) t.mutable_data<float>()[at] = value;
    return t;
}

void fill(Tensor& t, int64_t begin, int64_t end, float value) {
    std::fill(t.mutable_data<float>() + begin, t.mutable_data<float>() + end, value);
}

}  // namespace

TEST_CASE("device losses: softmax of infinities and NaN") {
    const SimScope scope(true, 0);
    for (const int64_t n : {70, 1600}) {  // a warp a row, a block a row
        Tensor x = random({5, n});
        fill(x, 0, n - 10, -kInf);     // row 0: the first finite value comes late
        fill(x, n, 2 * n, -kInf);      // row 1: nothing
        with(x, {{3 * n - 1, kNan}});  // row 2
        with(x, {{3 * n + 7, kInf}});  // row 3
        const Tensor cpu = kernels::softmax(x);
        for (const Device device : test_devices()) CHECK(difference(kernels::softmax(x.to(device)), cpu) <= 1e-6);
    }
}

TEST_CASE("device losses: cross_entropy of infinities and NaN stays in its row") {
    const SimScope scope(true, 0);
    for (const int64_t n : {70, 3000}) {
        Tensor z = random({7, n});
        with(z, {{3, -kInf}, {n + 5, kNan}, {2 * n + 5, kInf}});
        fill(z, 3 * n, 4 * n, -kInf);      // nothing is possible
        with(z, {{4 * n + 1, -kInf}});     // the target itself
        fill(z, 5 * n, 6 * n - 1, -kInf);  // one class is left, the target
        const Tensor ids = Tensor::from(std::vector<int32_t>{1, 1, 1, 1, 1, static_cast<int32_t>(n - 1), 1}, {7});
        const Tensor dl = random({7}), cpu = kernels::cross_entropy_logits(z, ids),
                     dcpu = kernels::cross_entropy_logits_backward(z, ids, dl);
        const std::vector<double> losses = cpu.values();
        CHECK(std::isfinite(losses[0]));
        for (const int row : {1, 2, 3}) CHECK(std::isnan(losses[static_cast<size_t>(row)]));
        CHECK(losses[4] == kInf);
        CHECK(losses[5] == 0);
        for (const Device device : test_devices()) {
            CHECK(difference(kernels::cross_entropy_logits(z.to(device), ids), cpu) <= 2e-6);
            CHECK(difference(kernels::cross_entropy_logits_backward(z.to(device), ids, dl.to(device)), dcpu) <= 1e-5);
        }
    }
}

TEST_CASE("device losses: ctc_loss of infinities and NaN stays in its sequence") {
    const SimScope scope(true, 0);
    for (const int64_t n : {6, 600}) {
        // rows 0-2: a token that the target does not need is impossible; 3-5: NaN; 6-8: infinite; 9-11: a token that it
        // needs is impossible; 12-14: nothing is possible in a row; 15-17: no blank and half of the tokens; 18-20 ordinary
        Tensor tokens = random({21, n}), blank = random({21, 1});
        with(tokens, {{n + 4, -kInf}, {4 * n + 1, kNan}, {7 * n + 3, kInf}});
        for (int64_t t = 9; t < 12; ++t) with(tokens, {{t * n + 2, -kInf}});
        fill(tokens, 13 * n, 14 * n, -kInf);
        with(blank, {{13, -kInf}});
        for (int64_t t = 15; t < 18; ++t) {
            fill(tokens, t * n + n / 2, (t + 1) * n, -kInf);
            with(blank, {{t, -kInf}});
        }
        const Tensor rows = kernels::make_borders(std::vector<int64_t>(7, 3)),
                     ends = kernels::make_borders(std::vector<int64_t>(7, 2));
        std::vector<int32_t> ids;
        for (int s = 0; s < 7; ++s) ids.insert(ids.end(), {1, 2});
        const Tensor targets = Tensor::from(ids, {14});
        const auto cpu = kernels::ctc_loss(tokens, blank, rows, targets, ends, 0.5f, true);
        const std::vector<double> losses = cpu.losses.values();
        CHECK(std::isfinite(losses[0]));
        CHECK(std::isnan(losses[1]));
        CHECK(!std::isfinite(losses[2]));
        CHECK(losses[3] == kInf);
        CHECK(!std::isfinite(losses[4]));
        CHECK(std::isfinite(losses[5]));
        CHECK(std::isfinite(losses[6]));
        for (const Device device : test_devices()) {
            const auto there = kernels::ctc_loss(tokens.to(device), blank.to(device), rows, targets, ends, 0.5f, true);
            CHECK(difference(there.losses, cpu.losses) <= 2e-6);
            CHECK(difference(there.dtokens, cpu.dtokens) <= 1e-5);
            CHECK(difference(there.dblank, cpu.dblank) <= 1e-5);
        }
    }
}

TEST_CASE("device losses: ctc_loss of a target that does not fit into shared memory") {
    const SimScope scope(false, 1);
    const int64_t length = kernels::kCtcSharedTargets + 20, rows = length + 40, n = 5;
    const Tensor tokens = random({rows + 8, n}), blank = random({rows + 8, 1});
    std::vector<int32_t> ids;  // no token twice in a row
    for (int64_t i = 0; i < length + 3; ++i) ids.push_back(static_cast<int32_t>((i * 7 + i / 5) % 5));
    for (size_t i = 1; i < ids.size(); ++i)
        if (ids[i] == ids[i - 1]) ids[i] = (ids[i] + 1 + (i + 1 < ids.size() && ids[i + 1] == (ids[i] + 1) % 5)) % 5;
    const Tensor targets = Tensor::from(ids, {length + 3}),
                 borders = kernels::make_borders(std::vector<int64_t>{rows, 8}),
                 ends = kernels::make_borders(std::vector<int64_t>{length, 3});
    const auto cpu = kernels::ctc_loss(tokens, blank, borders, targets, ends, 0.5f, true);
    REQUIRE(cpu.infeasible == 0);
    for (const Device device : test_devices()) {
        const auto there = kernels::ctc_loss(tokens.to(device), blank.to(device), borders, targets, ends, 0.5f, true);
        CHECK(there.infeasible == 0);
        CHECK(difference(there.losses, cpu.losses) <= 2e-6);
        CHECK(difference(there.dtokens, cpu.dtokens) <= 1e-5);
        CHECK(difference(there.dblank, cpu.dblank) <= 1e-5);
        // a short sequence has the bits that it has alone, in shared memory
        const auto part = [&](const Tensor& t) { return t.slice(0, rows, rows + 8).to_contiguous().to(device); };
        const auto alone = kernels::ctc_loss(part(tokens), part(blank), kernels::make_borders(std::vector<int64_t>{8}),
                                             targets.slice(0, length, length + 3).to_contiguous(),
                                             kernels::make_borders(std::vector<int64_t>{3}), 0.5f, true);
        CHECK(same_bits(alone.losses, there.losses.slice(0, 1, 2)));
        CHECK(same_bits(alone.dtokens, there.dtokens.slice(0, rows, rows + 8)));
    }
}
