#include "wavllm/bench/ladders.h"

#include "data/progress.h"
#include "kernels/common/ladder.h"
#include "tensor/text.h"
#include "wavllm/bench/device_clock.h"
#include "wavllm/bench/kernel_counters.h"
#include "wavllm/bench/timing.h"
#include "wavllm/support/json_output.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

using nlohmann::ordered_json;

/// Naive steps load for every multiplication.
constexpr double kEmulatedFlops = 1.5e8;

struct Step {
    const LadderStep* step;
    PassCounters counters;  // on the emulator
    Timing time;            // on a GPU
};

struct Climb {
    const Ladder* ladder;
    const OpCase* op_case;
    std::vector<Step> steps;
};

std::vector<Climb> climbs(Device device, const std::string& op) {
    std::vector<Climb> result;
    std::vector<std::string> known;
    for (const auto& [name, ladder] : ladders()) {
        known.push_back(name);
        if (!op.empty() && op != name) continue;
        for (const OpCase& c : find_op(name).cases)
            if (c.bench && ladder.takes(c) && (device != Device::sim || c.flops <= kEmulatedFlops))
                result.push_back({&ladder, &c, {}});
    }
    if (result.empty())
        throw UsageError("--ladder: op \"{}\" has no ladder; there are those of {}", printable(op),
                         fmt::join(known, ", "));
    return result;
}

void run(Climb& climb, Device device, int runs) {
    const std::vector<Tensor> inputs = inputs_on(device, climb.op_case->inputs);
    for (const LadderStep& step : climb.ladder->steps) {
        Step result{&step, {climb.ladder->op, climb.op_case->name, step.name, {}}, {}};
        const auto work = [&] { step.run(inputs, climb.op_case->params); };
        if (device == Device::sim)
            result.counters.kernels = count_kernels(work);
        else
            result.time = measure([&] { return device_clock(device).seconds(work); }, runs);
        climb.steps.push_back(std::move(result));
    }
}

void print(const Climb& climb, Device device) {
    const OpCase& c = *climb.op_case;
    fmt::print("{}, {}: {} must move", climb.ladder->op, c.name, format_bytes(c.bytes));
    fmt::print("{}\n", c.flops == 0 ? "" : fmt::format(", {:.4g} operations", c.flops));
    std::vector<std::string> header{"step"};
    if (device == Device::sim)
        header.insert(header.end(), {"sectors", "moved / must", "of ideal", "wavefronts", "conflicts", "launches"});
    else
        header.insert(header.end(), {"time", "GFLOP/s", "GB/s", "speed-up"});
    header.emplace_back("what it does");
    std::vector<bool> left(header.size(), false);
    left.front() = left.back() = true;
    Table table(header, left);
    for (const Step& s : climb.steps) {
        std::vector<std::string> row{s.step->name};
        if (device == Device::sim) {
            const simt::Counters all = s.counters.total();
            const auto number = [](uint64_t n) { return with_commas(static_cast<int64_t>(n)); };
            row.insert(row.end(),
                       {number(all.load_sectors + all.store_sectors), fmt::format("{:.2f}", bytes_moved(all) / c.bytes),
                        fmt::format("{:.3f}", all.sector_ratio()), number(all.shared_wavefronts),
                        number(all.bank_conflicts()), std::to_string(s.counters.launches())});
        } else {
            const auto rate = [&](double amount) { return fmt::format("{:.1f}", amount / s.time.median / 1e9); };
            row.insert(row.end(), {format_seconds(s.time.median), rate(c.flops), rate(c.bytes),
                                   fmt::format("{:.2f} x", climb.steps.front().time.median / s.time.median)});
        }
        row.push_back(s.step->idea);
        table.add(row);
    }
    table.print();
    fmt::print("\n");
}

ordered_json to_json(const Climb& climb, Device device) {
    ordered_json out = {{"op", climb.ladder->op},
                        {"case", climb.op_case->name},
                        {"bytes", climb.op_case->bytes},
                        {"flops", climb.op_case->flops},
                        {"steps", ordered_json::array()}};
    for (const Step& s : climb.steps) {
        ordered_json step = {{"step", s.step->name}, {"idea", s.step->idea}};
        if (device == Device::sim)
            step["kernels"] = s.counters.to_json().at("kernels");
        else
            step["seconds"] = s.time.to_json();
        out["steps"].push_back(step);
    }
    return out;
}

}  // namespace

void bench_ladders(Device device, const std::string& op, int runs, const std::string& json) {
    if (device == Device::cpu)
        throw UsageError("--ladder: the steps are CUDA kernels; run them with --device sim, or cuda on a GPU");
    std::vector<Climb> all = climbs(device, op);
    Progress bar("bench ladders", static_cast<int64_t>(all.size()), "cases");
    int64_t done = 0;
    for (Climb& climb : all) {
        bar.update(done++, climb.ladder->op + " " + climb.op_case->name);
        run(climb, device, runs);
    }
    bar.update(done);
    bar.finish();
    if (json != "-")
        for (const Climb& climb : all) print(climb, device);
    if (json.empty()) return;
    ordered_json out = {{"device", name(device)}, {"ladders", ordered_json::array()}};
    for (const Climb& climb : all) out["ladders"].push_back(to_json(climb, device));
    write_json(out, json);
}

}  // namespace wavllm
