// wavllm bench ops: every op at its benchmark sizes, against the roofs of this machine (Williams et al. 2009,
// "Roofline").

#include "autograd/tape.h"
#include "data/progress.h"
#include "wavllm/bench/cases.h"
#include "wavllm/bench/machine.h"
#include "wavllm/bench/timing.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

using nlohmann::ordered_json;

struct Options {
    std::string op, json;
    int runs = 5;
};

struct Result {
    const Op* op;
    const OpCase* op_case;
    Timing forward, backward;
    bool has_backward = false;
};

/// The least time the case can take on this machine, and what sets it.
struct Roof {
    double seconds;
    const char* name;
};

Roof roof_of(const OpCase& c, const Machine& machine) {
    const double compute = c.flops / machine.flops, memory = c.bytes / machine.bandwidth;
    if (compute == 0 && memory == 0) return {0, "-"};
    return compute > memory ? Roof{compute, "compute"} : Roof{memory, "memory"};
}

double backward_seconds(const TapedCase& taped) {
    const Tensor y = taped.forward(), dy = taped.gradient_of(y);
    const Stopwatch watch;
    backward(y, dy);
    const double seconds = watch.seconds();
    taped.forget();
    return seconds;
}

Result run(const Op& op, const OpCase& c, int runs) {
    Result result{&op, &c, {}, {}};
    {
        NoGrad no_grad;
        result.forward = measure_all_of([&] { op.forward(c.inputs, c.params); }, runs);
    }
    const TapedCase taped(op, c);
    if (taped.any) {
        result.backward = measure([&] { return backward_seconds(taped); }, runs);
        result.has_backward = true;
    }
    return result;
}

std::vector<Result> run_all(const Options& options) {
    std::vector<std::pair<const Op*, const OpCase*>> work;
    const auto add = [&](const Op& op) {
        for (const OpCase& c : op.cases)
            if (c.bench) work.push_back({&op, &c});
    };
    if (!options.op.empty())
        add(find_op(options.op));
    else
        for (const auto& [name, op] : ops_with_benchmarks()) add(op);
    if (work.empty())
        throw UsageError("op \"{}\" has no case marked bench in kernels/{}/cases.cpp", options.op, options.op);
    std::vector<Result> results;
    Progress bar("bench ops", static_cast<int64_t>(work.size()), "cases");
    for (const auto& [op, c] : work) {
        bar.update(static_cast<int64_t>(results.size()), op->name + " " + c->name);
        results.push_back(run(*op, *c, options.runs));
    }
    bar.update(static_cast<int64_t>(results.size()));
    bar.finish();
    return results;
}

ordered_json to_json(const Result& r, const Machine& machine) {
    const OpCase& c = *r.op_case;
    const Roof roof = roof_of(c, machine);
    ordered_json out = {{"op", r.op->name}, {"case", c.name}, {"forward_seconds", r.forward.to_json()}};
    out["flops"] = c.flops;
    out["bytes"] = c.bytes;
    if (roof.seconds > 0) {
        out["roof"] = roof.name;
        out["share_of_roof"] = roof.seconds / r.forward.median;
    }
    if (r.has_backward) out["backward_seconds"] = r.backward.to_json();
    return out;
}

void print(const std::vector<Result>& results, const Machine& machine) {
    Table table({"op", "case", "forward", "GFLOP/s", "GB/s", "limit", "share", "backward", "/ forward"},
                {true, true, false, false, false, true});
    for (const Result& r : results) {
        const OpCase& c = *r.op_case;
        const Roof roof = roof_of(c, machine);
        const auto rate = [&](double amount) {
            return amount > 0 ? fmt::format("{:.1f}", amount / r.forward.median / 1e9) : std::string("-");
        };
        table.add({r.op->name, c.name, format_seconds(r.forward.median), rate(c.flops), rate(c.bytes), roof.name,
                   roof.seconds > 0 ? fmt::format("{:.0f} %", 100 * roof.seconds / r.forward.median) : "-",
                   r.has_backward ? format_seconds(r.backward.median) : "-",
                   r.has_backward ? fmt::format("{:.1f}", r.backward.median / r.forward.median) : "-"});
    }
    table.print();
    fmt::print(
        "\nlimit: whether the case's floating-point operations or its bytes take longer at this machine's peak; share: "
        "that time\nas part of the measured one. More than 100 % of memory: the data stay in the caches. Time of "
        "backward "
        "is without forward.\n");
}

int bench_ops(const Options& options) {
    if (options.runs < 5) throw UsageError("--runs {}: a median needs at least 5 runs", options.runs);
    if (!options.op.empty()) find_op(options.op);
    const Machine machine = measure_machine();
    if (options.json != "-") machine.print();
    const std::vector<Result> results = run_all(options);
    if (options.json != "-") print(results, machine);
    if (!options.json.empty()) {
        ordered_json out = {{"machine", machine.to_json()}, {"ops", ordered_json::array()}};
        for (const Result& r : results) out["ops"].push_back(to_json(r, machine));
        write_json(out, options.json);
    }
    return 0;
}

WAVLLM_PART(bench, ops,
            {"ops", "every op: time, rate, and share of this machine's measured peak", "wavllm bench ops --op rms_norm",
             [](CLI::App& app) {
                 auto options = std::make_shared<Options>();
                 app.add_option("--op", options->op, "this op only");
                 app.add_option("--runs", options->runs, "timed runs of each case, at least (5)");
                 app.add_option("--json", options->json, "write the figures to this file (- is stdout)");
                 return [options] { return bench_ops(*options); };
             }});

}  // namespace

}  // namespace wavllm
