// wavllm bench fusion: what each fused op is worth against its composition, and what error it adds.

#include "kernels/common/fusion.h"

#include <algorithm>
#include <cmath>

#include "autograd/gradient_check.h"
#include "autograd/tape.h"
#include "data/progress.h"
#include "tensor/allocator.h"
#include "wavllm/bench/cases.h"
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

/// One way of computing a case.
struct Side {
    Timing time;      // forward and backward
    size_t peak = 0;  // bytes above what was held before
    double value_error = 0, gradient_error = 0;
};

void measure_speed(const Op& op, const OpCase& c, int runs, Side& side) {
    const TapedCase taped(op, c);
    const auto pass = [&](const Tensor& dy) {
        const Tensor y = taped.forward();
        if (taped.any) backward(y, dy);
    };
    const Tensor dy = taped.gradient_of(taped.forward());
    clear_tape();
    side.time = measure(
        [&] {
            const Tensor own = dy.clone();  // backward functions may take it over and add to it
            const Stopwatch watch;
            pass(own);
            const double seconds = watch.seconds();
            taped.forget();
            return seconds;
        },
        runs);
    const size_t before = memory::total().bytes;
    memory::reset_peaks();
    pass(dy);
    side.peak = memory::total().peak - before;
    taped.forget();
}

/// Keeps the larger one; NaN is the largest of all.
void raise(double& worst, double error) {
    if (!std::isnan(worst) && !(error <= worst)) worst = error;
}

double value_error(const Op& op, const TapedOp& taped, const OpCase& c) {
    NoGrad no_grad;
    std::vector<Array64> inputs;
    for (const Tensor& t : c.inputs) inputs.push_back(t.defined() ? Array64(t) : Array64());
    const Array64 expected = op.reference(inputs, c.params);
    const std::vector<double> actual = taped(c.inputs, c.params).values();
    double scale = 1e-3, worst = 0;
    for (const double e : expected.v) scale = std::max(scale, std::isfinite(e) ? std::abs(e) : 0.0);
    for (size_t i = 0; i < actual.size(); ++i)
        if (actual[i] != expected.v[i]) raise(worst, std::abs(actual[i] - expected.v[i]) / scale);
    return worst;
}

void measure_errors(const Op& op, Side& side) {
    const TapedOp* taped = derivative(op.name);
    for (const OpCase& c : op.cases) {
        if (c.bench) continue;  // too large for a reference in float64
        raise(side.value_error, value_error(op, *taped, c));
        const GradientError g =
            gradient_check([&](Inputs in) { return (*taped)(in, c.params); },
                           [&](Inputs64 in) { return op.reference(in, c.params); }, c.inputs, c.differentiable);
        raise(side.gradient_error, g.relative);
    }
}

struct Row {
    FusionInfo fusion;
    std::string op_case;
    Side fused, composed;

    ordered_json to_json() const {
        const auto side = [](const Side& s) {
            return ordered_json{{"seconds", s.time.to_json()},
                                {"peak_bytes", s.peak},
                                {"value_error", s.value_error},
                                {"gradient_error", s.gradient_error}};
        };
        return {{"fusion", fusion.name},
                {"composition", fusion.composition},
                {"case", op_case},
                {"fused", side(fused)},
                {"composed", side(composed)}};
    }
};

std::vector<Row> run_all(int runs) {
    std::vector<Row> rows;
    for (const FusionInfo& f : fusions()) {
        const auto it = ops_with_benchmarks().find(std::string(f.name));
        if (it == ops_with_benchmarks().end() || !derivative(it->first))
            continue;  // part of a model, without cases of its own
        for (const OpCase& c : it->second.cases)
            if (c.bench) rows.push_back({f, c.name, {}, {}});
    }
    Progress bar("bench fusion", static_cast<int64_t>(rows.size()), "cases");
    Side fused, composed;  // errors belong to the op and are measured at its first case
    std::string_view last;
    int64_t done = 0;
    for (Row& row : rows) {
        const Op& op = ops_with_benchmarks().at(std::string(row.fusion.name));
        const OpCase& c = *std::find_if(op.cases.begin(), op.cases.end(),
                                        [&](const OpCase& candidate) { return candidate.name == row.op_case; });
        bar.update(done++, fmt::format("{} {}", op.name, c.name));
        for (const bool fuse : {true, false}) {
            const FusionSetting setting(fuse ? std::string_view() : row.fusion.name);
            Side& errors = fuse ? fused : composed;
            if (last != row.fusion.name) measure_errors(op, errors = {});
            Side& side = fuse ? row.fused : row.composed;
            side = errors;
            measure_speed(op, c, runs, side);
        }
        last = row.fusion.name;
    }
    bar.update(done);
    bar.finish();
    return rows;
}

void print(const std::vector<Row>& rows) {
    Table table({"fusion", "case", "fused", "composed", "speed-up", "peak fused", "composed", "error fused", "composed",
                 "gradient fused", "composed"},
                {true, true});
    for (const Row& r : rows)
        table.add({std::string(r.fusion.name), r.op_case, format_seconds(r.fused.time.median),
                   format_seconds(r.composed.time.median),
                   fmt::format("{:.2f} x", r.composed.time.median / r.fused.time.median),
                   format_bytes(static_cast<double>(r.fused.peak)), format_bytes(static_cast<double>(r.composed.peak)),
                   fmt::format("{:.1e}", r.fused.value_error), fmt::format("{:.1e}", r.composed.value_error),
                   fmt::format("{:.1e}", r.fused.gradient_error), fmt::format("{:.1e}", r.composed.gradient_error)});
    table.print();
    fmt::print("\n");
    for (const FusionInfo& f : fusions()) fmt::print("{} = {}\n", f.name, f.composition);
    fmt::print(
        "\ntime: forward and backward. peak: memory above the inputs. error: against the float64 reference, largest of "
        "the op's\ntest cases, as a part of the largest value; gradient: likewise, against central differences of the "
        "reference.\n");
}

int bench_fusion(int runs, const std::string& json) {
    if (runs < 5) throw UsageError("--runs {}: a median needs at least 5 runs", runs);
    Machine machine;
    if (json != "-") (machine = measure_machine()).print();
    const std::vector<Row> rows = run_all(runs);
    if (json != "-") print(rows);
    if (!json.empty()) {
        ordered_json out = {{"fusions", ordered_json::array()}};
        for (const Row& r : rows) out["fusions"].push_back(r.to_json());
        write_json(out, json);
    }
    return 0;
}

WAVLLM_PART(bench, fusion,
            {"fusion", "each fused op against its composition: time, memory, error", "wavllm bench fusion",
             [](CLI::App& app) {
                 auto runs = std::make_shared<int>(5);
                 auto json = std::make_shared<std::string>();
                 app.add_option("--runs", *runs, "timed runs, at least (5)");
                 app.add_option("--json", *json, "write the figures to this file (- is stdout)");
                 return [runs, json] { return bench_fusion(*runs, *json); };
             }});

}  // namespace

}  // namespace wavllm
