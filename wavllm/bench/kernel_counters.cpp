#include "wavllm/bench/kernel_counters.h"

#include <algorithm>

#include "autograd/tape.h"
#include "data/progress.h"
#include "kernels/common/on_device.h"
#include "wavllm/support/table.h"

namespace wavllm {

namespace {

using nlohmann::ordered_json;

constexpr double kSectorsAllowed = 1.05;

ordered_json to_json(const dim3& d) {
    return {d.x, d.y, d.z};
}

bool same(const dim3& a, const dim3& b) {
    return a.x == b.x && a.y == b.y && a.z == b.z;
}

std::string text(const dim3& d) {
    std::string result = std::to_string(d.x);
    if (d.y * d.z > 1) result += fmt::format("x{}", d.y);
    if (d.z > 1) result += fmt::format("x{}", d.z);
    return result;
}

std::string count(uint64_t n) {
    return n == 0 ? "-" : with_commas(static_cast<int64_t>(n));
}

}  // namespace

CheckedEmulator::CheckedEmulator() : before_(kernels::sim_checked()) {
    kernels::set_sim_checked(true);
}
CheckedEmulator::~CheckedEmulator() {
    kernels::set_sim_checked(before_);
}

double bytes_moved(const simt::Counters& c) {
    return 32.0 * static_cast<double>(c.load_sectors + c.store_sectors);
}

ordered_json KernelCounters::to_json() const {
    const simt::Counters& c = counters;
    return {{"kernel", kernel},
            {"grid", wavllm::to_json(grid)},
            {"block", wavllm::to_json(block)},
            {"launches", launches},
            {"bytes_loaded", c.bytes_loaded},
            {"bytes_stored", c.bytes_stored},
            {"load_requests", c.load_requests},
            {"load_sectors", c.load_sectors},
            {"load_sectors_ideal", c.load_sectors_ideal},
            {"store_requests", c.store_requests},
            {"store_sectors", c.store_sectors},
            {"store_sectors_ideal", c.store_sectors_ideal},
            {"sectors_of_ideal", c.sector_ratio()},
            {"shared_requests", c.shared_requests},
            {"shared_wavefronts", c.shared_wavefronts},
            {"bank_conflicts", c.bank_conflicts()},
            {"barriers", c.barriers},
            {"warp_operations", c.warp_operations},
            {"partial_warp_operations", c.partial_warp_operations},
            {"divergent_intervals", c.divergent_intervals},
            {"atomics", c.atomics},
            {"flops", c.flops}};
}

simt::Counters PassCounters::total() const {
    simt::Counters sum;
    for (const KernelCounters& k : kernels) sum.add(k.counters);
    return sum;
}

int64_t PassCounters::launches() const {
    int64_t sum = 0;
    for (const KernelCounters& k : kernels) sum += k.launches;
    return sum;
}

ordered_json PassCounters::to_json() const {
    ordered_json out = {{"op", op}, {"case", op_case}, {"pass", pass}, {"kernels", ordered_json::array()}};
    for (const KernelCounters& k : kernels) out["kernels"].push_back(k.to_json());
    return out;
}

std::vector<KernelCounters> count_kernels(const std::function<void()>& work) {
    const CheckedEmulator checked;
    const simt::Recording recording;
    work();
    std::vector<KernelCounters> kernels;
    for (const simt::LaunchReport& l : recording.launches()) {
        auto known = std::find_if(kernels.begin(), kernels.end(), [&](const KernelCounters& k) {
            return k.kernel == l.kernel && same(k.grid, l.grid) && same(k.block, l.block);
        });
        if (known == kernels.end()) known = kernels.insert(kernels.end(), {l.kernel, l.grid, l.block, 0, {}});
        ++known->launches;
        known->counters.add(l.counters);
    }
    return kernels;
}

std::vector<PassCounters> count_case(const BenchCase& c) {
    const TapedCase taped(*c.op, *c.op_case, Device::sim);
    std::vector<PassCounters> passes;
    {
        NoGrad no_grad;
        const auto forward = [&] { c.op->forward(taped.inputs, c.op_case->params); };
        passes.push_back({c.op->name, c.op_case->name, "forward", count_kernels(forward)});
    }
    if (taped.any) {
        const Tensor y = taped.forward(), dy = taped.gradient_of(y);
        passes.push_back({c.op->name, c.op_case->name, "backward", count_kernels([&] { backward(y, dy); })});
    }
    return passes;
}

void print(const std::vector<PassCounters>& passes) {
    Table table({"op", "case", "pass", "kernel", "launches", "blocks", "threads", "loaded", "stored", "sectors",
                 "of ideal", "wavefronts", "conflicts", "divergent", "FLOPs"},
                {true, true, true, true});
    std::vector<std::string> sectors, conflicts;
    for (const PassCounters& p : passes)
        for (const KernelCounters& k : p.kernels) {
            const simt::Counters& c = k.counters;
            table.add({p.op, p.op_case, p.pass, k.kernel, std::to_string(k.launches), text(k.grid), text(k.block),
                       format_bytes(static_cast<double>(c.bytes_loaded)),
                       format_bytes(static_cast<double>(c.bytes_stored)), count(c.load_sectors + c.store_sectors),
                       fmt::format("{:.3f}", c.sector_ratio()), count(c.shared_wavefronts), count(c.bank_conflicts()),
                       count(c.divergent_intervals), c.flops == 0 ? "-" : fmt::format("{:.4g}", c.flops)});
            const std::string which = fmt::format("{} {} {}: {}", p.op, p.op_case, p.pass, k.kernel);
            if (c.sector_ratio() > kSectorsAllowed)
                sectors.push_back(fmt::format("{}, {:.2f}", which, c.sector_ratio()));
            if (c.bank_conflicts() > 0) conflicts.push_back(fmt::format("{}, {}", which, count(c.bank_conflicts())));
        }
    table.print();
    fmt::print(
        "\nsectors: of 32 bytes, moved between the kernel and global memory; of ideal: over what the bytes of each "
        "request would need\nif they lay side by side. wavefronts: of shared memory; conflicts: those beyond one for "
        "each 32 words. See docs/kernels.md.\n");
    const auto list = [](const char* what, const std::vector<std::string>& which) {
        fmt::print("\n{}: {}\n", what, which.empty() ? "none" : "");
        for (const std::string& w : which) fmt::print("  {}\n", w);
    };
    list("more than 1.05 of the ideal sectors", sectors);
    list("bank conflicts", conflicts);
}

}  // namespace wavllm
