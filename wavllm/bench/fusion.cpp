// wavllm bench fusion: what each fused op is worth against its composition on a device, and what error it adds.

#include "kernels/common/fusion.h"

#include <algorithm>
#include <cmath>

#include "autograd/gradient_check.h"
#include "autograd/tape.h"
#include "data/progress.h"
#include "tensor/allocator.h"
#include "tensor/text.h"
#include "wavllm/bench/cases.h"
#include "wavllm/bench/device_clock.h"
#include "wavllm/bench/kernel_counters.h"
#include "wavllm/bench/machine.h"
#include "wavllm/bench/timing.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

using nlohmann::ordered_json;

/// Fused, or composed, for as long as it lives.
class FusionSetting {
public:
    explicit FusionSetting(std::string_view off) {
        set_fusion(off.empty() ? "on" : off);
    }
    ~FusionSetting() {
        set_fusion("on");
    }
    FusionSetting(const FusionSetting&) = delete;
    FusionSetting& operator=(const FusionSetting&) = delete;
};

/// One way of computing a case, forward and backward.
struct Side {
    Timing time;           // not on the emulator
    double bytes = 0;      // moved: counted on the emulator, elsewhere from the tensors that are made
    int64_t launches = 0;  // on the emulator
    size_t peak = 0;       // bytes above what was held before
    double value_error = 0, gradient_error = 0;
};

void measure_cost(const Op& op, const OpCase& c, Device device, int runs, Side& side) {
    const TapedCase taped(op, c, device);
    const auto pass = [&](const Tensor& dy) {
        const Tensor y = taped.forward();
        if (taped.any) backward(y, dy);
    };
    const Tensor dy = taped.gradient_of(taped.forward());  // this also makes what is made once (packed weights)
    clear_tape();
    if (device != Device::sim)
        side.time = measure(
            [&] {
                const Tensor own = dy.clone();  // backward functions may take it over and add to it
                const double seconds = device_clock(device).seconds([&] { pass(own); });
                taped.forget();
                return seconds;
            },
            runs);
    const Account before = memory::total(device);
    memory::reset_peaks();
    if (device == Device::sim) {
        PassCounters counted;
        counted.kernels = count_kernels([&] { pass(dy); });
        side.bytes = bytes_moved(counted.total());
        side.launches = counted.launches();
    } else {
        pass(dy);
        side.bytes = 2 * static_cast<double>(memory::total(device).given - before.given);
        for (const Tensor& t : taped.inputs)
            if (t.defined()) side.bytes += static_cast<double>(t.bytes());
    }
    side.peak = memory::total(device).peak - before.bytes;
    taped.forget();
}

/// Keeps the larger one; NaN is the largest of all.
void raise(double& worst, double error) {
    if (!std::isnan(worst) && !(error <= worst)) worst = error;
}

double value_error(const Op& op, const TapedOp& taped, const OpCase& c, Device device) {
    NoGrad no_grad;
    std::vector<Array64> inputs;
    for (const Tensor& t : c.inputs) inputs.push_back(t.defined() ? Array64(t) : Array64());
    const Array64 expected = op.reference(inputs, c.params);
    const std::vector<double> actual = taped(inputs_on(device, c.inputs), c.params).values();
    double scale = 1e-3, worst = 0;
    for (const double e : expected.v) scale = std::max(scale, std::isfinite(e) ? std::abs(e) : 0.0);
    for (size_t i = 0; i < actual.size(); ++i)
        if (actual[i] != expected.v[i]) raise(worst, std::abs(actual[i] - expected.v[i]) / scale);
    return worst;
}

/// Of the op's test cases; those of `bf16` have products of factors rounded to it, and errors of their own.
void measure_errors(const Op& op, bool bf16, Device device, Side& side) {
    const TapedOp* taped = derivative(op.name);
    for (const OpCase& c : op.cases) {
        if (c.bench || c.params.flag("bf16") != bf16) continue;  // bench: too large for a reference in float64
        raise(side.value_error, value_error(op, *taped, c, device));
        const GradientError g = gradient_check([&](Inputs in) { return (*taped)(in, c.params); },
                                               [&](Inputs64 in) { return op.reference(in, c.params); },
                                               inputs_on(device, c.inputs), c.differentiable);
        raise(side.gradient_error, g.relative);
    }
}

struct Row {
    FusionInfo fusion;
    std::string op_case;
    Side fused, composed;

    ordered_json to_json() const {
        const auto side = [](const Side& s) {
            ordered_json out;
            if (s.time.runs > 0)
                out["seconds"] = s.time.to_json();
            else
                out["launches"] = s.launches;
            out["bytes_moved"] = s.bytes;
            out["peak_bytes"] = s.peak;
            out["value_error"] = s.value_error;
            out["gradient_error"] = s.gradient_error;
            return out;
        };
        return {{"fusion", fusion.name},
                {"composition", fusion.composition},
                {"case", op_case},
                {"fused", side(fused)},
                {"composed", side(composed)}};
    }
};

std::vector<Row> run_all(Device device, const std::string& only, int runs) {
    std::vector<Row> rows;
    for (const FusionInfo& f : fusions()) {
        if (!only.empty() && only != f.name) continue;
        const Op* op = op_with_benchmarks(std::string(f.name));
        if (op == nullptr || !derivative(op->name)) continue;  // part of a model, without cases of its own
        for (const OpCase& c : op->cases)
            if (c.bench && (device != Device::sim || emulated_in_seconds(c))) rows.push_back({f, c.name, {}, {}});
    }
    Progress bar("bench fusion", static_cast<int64_t>(rows.size()), "cases");
    Side errors[2];  // fused, composed: of the op and its dtype, measured at the first case of both
    std::string last;
    int64_t done = 0;
    for (Row& row : rows) {
        const Op& op = *op_with_benchmarks(std::string(row.fusion.name));
        const OpCase& c = *std::find_if(op.cases.begin(), op.cases.end(),
                                        [&](const OpCase& candidate) { return candidate.name == row.op_case; });
        bar.update(done++, fmt::format("{} {}", op.name, c.name));
        const bool bf16 = c.params.flag("bf16");
        const std::string kind = op.name + (bf16 ? " bf16" : "");
        for (const bool fuse : {true, false}) {
            const FusionSetting setting(fuse ? std::string_view() : row.fusion.name);
            if (last != kind) measure_errors(op, bf16, device, errors[fuse] = {});
            Side& side = fuse ? row.fused : row.composed;
            side = errors[fuse];
            measure_cost(op, c, device, runs, side);
        }
        last = kind;
    }
    bar.update(done);
    bar.finish();
    return rows;
}

void print(const std::vector<Row>& rows, Device device) {
    const bool sim = device == Device::sim;
    Table table(
        {"fusion", "case", sim ? "launches fused" : "fused", "composed", sim ? "of them" : "speed-up", "moved fused",
         "composed", "peak fused", "composed", "error fused", "composed", "gradient fused", "composed"},
        {true, true});
    for (const Row& r : rows) {
        const auto cost = [&](const Side& s) {
            return sim ? std::to_string(s.launches) : format_seconds(s.time.median);
        };
        const double gain = sim ? static_cast<double>(r.composed.launches) / static_cast<double>(r.fused.launches)
                                : r.composed.time.median / r.fused.time.median;
        const auto bytes = [](double b) { return format_bytes(b); };
        table.add({std::string(r.fusion.name), r.op_case, cost(r.fused), cost(r.composed),
                   fmt::format("{:.2f} x", gain), bytes(r.fused.bytes), bytes(r.composed.bytes),
                   bytes(static_cast<double>(r.fused.peak)), bytes(static_cast<double>(r.composed.peak)),
                   fmt::format("{:.1e}", r.fused.value_error), fmt::format("{:.1e}", r.composed.value_error),
                   fmt::format("{:.1e}", r.fused.gradient_error), fmt::format("{:.1e}", r.composed.gradient_error)});
    }
    table.print();
    fmt::print("\n");
    for (const FusionInfo& f : fusions()) fmt::print("{} = {}\n", f.name, f.composition);
    fmt::print(
        "\n{}: forward and backward. moved: {}. peak: memory above the inputs. error: against the float64 reference, "
        "largest of\nthe op's test cases, as a part of the largest value; gradient: likewise, against central "
        "differences of the reference.\n",
        sim ? "launches" : "time",
        sim ? "sectors of global memory, as the emulator counted them"
            : "inputs once, and every tensor that is made once written and once read (computed, not counted)");
}

int bench_fusion(int runs, const std::string& op, const std::string& json) {
    if (runs < 5) throw UsageError("--runs {}: a median needs at least 5 runs", runs);
    const Device device = model_device();
    Machine machine;
    if (json != "-" && device != Device::sim) (machine = measure_machine(device)).print();
    const std::vector<Row> rows = run_all(device, op, runs);
    if (rows.empty())
        throw UsageError("--op: no fused op \"{}\" with cases; see the list of wavllm bench fusion", printable(op));
    if (json != "-") print(rows, device);
    if (!json.empty()) {
        ordered_json out = {{"device", name(device)}, {"fusions", ordered_json::array()}};
        for (const Row& r : rows) out["fusions"].push_back(r.to_json());
        write_json(out, json);
    }
    return 0;
}

WAVLLM_PART(bench, fusion,
            {"fusion", "each fused op against its composition: time, bytes moved, memory, error", "wavllm bench fusion",
             [](cli::App& app) {
                 auto runs = std::make_shared<int>(5);
                 auto json = std::make_shared<std::string>();
                 auto op = std::make_shared<std::string>();
                 app.add_option("--op", *op, "this fused op only");
                 app.add_option("--runs", *runs, "timed runs, at least (5)");
                 app.add_option("--json", *json, "write the figures to this file (- is stdout)");
                 return [runs, op, json] { return bench_fusion(*runs, *op, *json); };
             }});

}  // namespace

}  // namespace wavllm
