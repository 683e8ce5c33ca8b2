#include "wavllm/bench/kernel_times.h"

#include "autograd/tape.h"
#include "wavllm/bench/device_clock.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

/// The least time the case can take on this machine, and what sets it.
struct Roof {
    double seconds;
    const char* name;
};

Roof roof_of(const OpCase& c, const Machine& machine) {
    const double peak = c.params.flag("bf16") && machine.bf16_flops > 0 ? machine.bf16_flops : machine.flops;
    const double compute = c.flops / peak, memory = c.bytes / machine.bandwidth;
    if (compute == 0 && memory == 0) return {0, "-"};
    return compute > memory ? Roof{compute, "compute"} : Roof{memory, "memory"};
}

double backward_seconds(const TapedCase& taped, Device device) {
    const Tensor y = taped.forward(), dy = taped.gradient_of(y);
    const double seconds = device_clock(device).seconds([&] { backward(y, dy); });
    taped.forget();
    return seconds;
}

}  // namespace

KernelTime time_kernel(const BenchCase& c, Device device, int runs) {
    KernelTime result{c.op, c.op_case, {}, {}};
    {
        NoGrad no_grad;
        const std::vector<Tensor> inputs = inputs_on(device, c.op_case->inputs);
        const auto forward = [&] { c.op->forward(inputs, c.op_case->params); };
        result.forward = measure([&] { return device_clock(device).seconds(forward); }, runs);
    }
    const TapedCase taped(*c.op, *c.op_case, device);
    if (taped.any) {
        result.backward = measure([&] { return backward_seconds(taped, device); }, runs);
        result.has_backward = true;
    }
    return result;
}

nlohmann::ordered_json to_json(const KernelTime& t, const Machine& machine) {
    const OpCase& c = *t.op_case;
    const Roof roof = roof_of(c, machine);
    nlohmann::ordered_json out = {{"op", t.op->name}, {"case", c.name}, {"forward_seconds", t.forward.to_json()}};
    out["flops"] = c.flops;
    out["bytes"] = c.bytes;
    if (roof.seconds > 0) {
        out["roof"] = roof.name;
        out["share_of_roof"] = roof.seconds / t.forward.median;
    }
    if (t.has_backward) out["backward_seconds"] = t.backward.to_json();
    return out;
}

void print(const std::vector<KernelTime>& times, const Machine& machine) {
    Table table({"op", "case", "forward", "GFLOP/s", "GB/s", "limit", "share", "backward", "/ forward"},
                {true, true, false, false, false, true});
    for (const KernelTime& t : times) {
        const OpCase& c = *t.op_case;
        const Roof roof = roof_of(c, machine);
        const auto rate = [&](double amount) {
            return amount > 0 ? fmt::format("{:.1f}", amount / t.forward.median / 1e9) : std::string("-");
        };
        table.add({t.op->name, c.name, format_seconds(t.forward.median), rate(c.flops), rate(c.bytes), roof.name,
                   roof.seconds > 0 ? fmt::format("{:.0f} %", 100 * roof.seconds / t.forward.median) : "-",
                   t.has_backward ? format_seconds(t.backward.median) : "-",
                   t.has_backward ? fmt::format("{:.1f}", t.backward.median / t.forward.median) : "-"});
    }
    table.print();
    fmt::print(
        "\nlimit: whether the case's floating-point operations or its bytes take longer at this machine's peak; share: "
        "that time\nas part of the measured one. {} Time of backward is without forward.\n",
        machine.device == Device::cpu ? "More than 100 % of memory: the data stay in the caches."
                                      : "Each run begins with nothing of the case in the GPU's caches.");
}

}  // namespace wavllm
