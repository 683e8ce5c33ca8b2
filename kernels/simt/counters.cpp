#include "kernels/simt/counters.h"

#include <fmt/format.h>

namespace wavllm::simt {

namespace {
thread_local Recording* recording = nullptr;
}

double Counters::sector_ratio() const {
    const uint64_t ideal = load_sectors_ideal + store_sectors_ideal;
    return ideal == 0 ? 1 : static_cast<double>(load_sectors + store_sectors) / static_cast<double>(ideal);
}

void Counters::add(const Counters& o) {
    load_requests += o.load_requests;
    load_sectors += o.load_sectors;
    load_sectors_ideal += o.load_sectors_ideal;
    store_requests += o.store_requests;
    store_sectors += o.store_sectors;
    store_sectors_ideal += o.store_sectors_ideal;
    bytes_loaded += o.bytes_loaded;
    bytes_stored += o.bytes_stored;
    shared_requests += o.shared_requests;
    shared_wavefronts += o.shared_wavefronts;
    shared_wavefronts_ideal += o.shared_wavefronts_ideal;
    shared_bytes_loaded += o.shared_bytes_loaded;
    shared_bytes_stored += o.shared_bytes_stored;
    atomics += o.atomics;
    barriers += o.barriers;
    warp_operations += o.warp_operations;
    partial_warp_operations += o.partial_warp_operations;
    divergent_intervals += o.divergent_intervals;
    flops += o.flops;
}

Recording::Recording() : outer_(recording) {
    recording = this;
}
Recording::~Recording() {
    recording = outer_;
}
Recording* Recording::active() {
    return recording;
}

Counters Recording::total() const {
    Counters sum;
    for (const LaunchReport& l : launches_) sum.add(l.counters);
    return sum;
}

std::string Recording::table() const {
    std::string text =
        fmt::format("{:<32} {:>12} {:>12} {:>7} {:>12} {:>10} {:>10} {:>10} {:>12}\n", "kernel", "loaded B", "stored B",
                    "sectors", "of ideal", "wavefronts", "conflicts", "divergent", "FLOPs");
    for (const LaunchReport& l : launches_) {
        const Counters& c = l.counters;
        text += fmt::format("{:<32} {:>12} {:>12} {:>7} {:>12.3f} {:>10} {:>10} {:>10} {:>12.4g}\n", l.kernel,
                            c.bytes_loaded, c.bytes_stored, c.load_sectors + c.store_sectors, c.sector_ratio(),
                            c.shared_wavefronts, c.bank_conflicts(), c.divergent_intervals, c.flops);
    }
    return text;
}

}  // namespace wavllm::simt
