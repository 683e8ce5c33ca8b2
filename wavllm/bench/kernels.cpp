// wavllm bench kernels: every op at its benchmark sizes on one device. CPU and GPU: time and share of what the machine can
// do. Emulator: what each kernel's loads and stores cost.

#include "data/progress.h"
#include "wavllm/bench/kernel_counters.h"
#include "wavllm/bench/kernel_times.h"
#include "wavllm/bench/ladders.h"
#include "wavllm/command.h"
#include "wavllm/support/json_output.h"

namespace wavllm {

namespace {

using nlohmann::ordered_json;

struct Options {
    std::string op, json;
    int runs = 5;
    bool ladder = false, large = false;
};

template <class F>
void each(const std::vector<BenchCase>& cases, F&& f) {
    Progress bar("bench kernels", static_cast<int64_t>(cases.size()), "cases");
    int64_t done = 0;
    for (const BenchCase& c : cases) {
        bar.update(done++, c.op->name + " " + c.op_case->name);
        f(c);
    }
    bar.update(done);
    bar.finish();
}

void show_times(const Options& o, Device device) {
    const std::vector<BenchCase> cases = bench_cases(o.op);
    const Machine machine = measure_machine(device);
    if (o.json != "-") machine.print();
    std::vector<KernelTime> times;
    each(cases, [&](const BenchCase& c) { times.push_back(time_kernel(c, device, o.runs)); });
    if (o.json != "-") print(times, machine);
    if (o.json.empty()) return;
    ordered_json out = {{"device", name(device)}, {"machine", machine.to_json()}, {"cases", ordered_json::array()}};
    for (const KernelTime& t : times) out["cases"].push_back(to_json(t, machine));
    write_json(out, o.json);
}

void show_counters(const Options& o) {
    std::vector<BenchCase> cases;
    std::vector<std::string> left_out;
    for (const BenchCase& c : bench_cases(o.op))
        if (o.large || emulated_in_seconds(*c.op_case))
            cases.push_back(c);
        else
            left_out.push_back(c.op->name + " " + c.op_case->name);
    std::vector<PassCounters> passes;
    each(cases, [&](const BenchCase& c) {
        for (PassCounters& p : count_case(c)) passes.push_back(std::move(p));
    });
    if (o.json != "-") {
        print(passes);
        if (!left_out.empty())
            fmt::print("\nleft out, since they take the emulator long (--large runs them): {}\n",
                       fmt::join(left_out, "; "));
    }
    if (o.json.empty()) return;
    ordered_json out = {{"device", "sim"}, {"passes", ordered_json::array()}, {"left_out", left_out}};
    for (const PassCounters& p : passes) out["passes"].push_back(p.to_json());
    write_json(out, o.json);
}

int bench_kernels(const Options& o) {
    if (o.runs < 5) throw UsageError("--runs {}: a median needs at least 5 runs", o.runs);
    const Device device = model_device();
    if (o.ladder)
        bench_ladders(device, o.op, o.runs, o.json);
    else if (device == Device::sim)
        show_counters(o);
    else
        show_times(o, device);
    return 0;
}

WAVLLM_PART(bench, kernels,
            {"kernels",
             "every op on a device: time and share of the measured peak; on sim what its memory accesses cost",
             "wavllm bench kernels --device sim --op rms_norm", [](cli::App& app) {
                 auto o = std::make_shared<Options>();
                 app.add_option("--op", o->op, "this op only");
                 app.add_option("--runs", o->runs, "timed runs of each case, at least (5)");
                 app.add_flag("--ladder", o->ladder, "the steps from naive kernels to the ones in use (sim, cuda)");
                 app.add_flag("--large", o->large, "on sim: also the cases that take it long");
                 app.add_option("--json", o->json, "write the figures to this file (- is stdout)");
                 return [o] { return bench_kernels(*o); };
             }});

}  // namespace

}  // namespace wavllm
