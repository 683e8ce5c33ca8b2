#pragma once
// What a launch moved and how well. How each number is counted, and how to read it: docs/simt.md.

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/simt/host/types.h"

namespace wavllm::simt {

/// A request is one load or store instruction of one warp. Global memory moves in sectors of 32 bytes; shared memory has
/// 32 banks of 4 bytes and needs one wavefront for each different word of the busiest bank.
struct Counters {
    uint64_t load_requests = 0, load_sectors = 0;
    uint64_t load_sectors_ideal = 0;  ///< of each request the bytes it touched, packed
    uint64_t store_requests = 0, store_sectors = 0, store_sectors_ideal = 0;
    uint64_t bytes_loaded = 0, bytes_stored = 0;  ///< global, as the lanes asked for them

    uint64_t shared_requests = 0, shared_wavefronts = 0;
    uint64_t shared_wavefronts_ideal = 0;  ///< without bank conflicts
    uint64_t shared_bytes_loaded = 0, shared_bytes_stored = 0;

    uint64_t atomics = 0;   ///< by lane
    uint64_t barriers = 0;  ///< by block
    uint64_t warp_operations = 0;
    uint64_t partial_warp_operations = 0;  ///< that not all live lanes of the warp took part in
    uint64_t divergent_intervals = 0;      ///< times a warp reached a barrier or its end by more than one path
    double flops = 0;                      ///< as the launch said, and 4096 for each mma of 16 x 8 x 16

    uint64_t bank_conflicts() const {
        return shared_wavefronts - shared_wavefronts_ideal;
    }
    /// Sectors moved over the least possible; 1 is perfect.
    double sector_ratio() const;
    void add(const Counters& other);
};

struct LaunchReport {
    std::string kernel;
    dim3 grid, block;
    bool checked = false;  ///< of launches of the plain build only barriers, warp operations and flops are known
    Counters counters;
};

/// While one lives, launches of its thread are counted: checked ones with every load and store (at about twice the time).
class Recording {
public:
    Recording();
    ~Recording();
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;
    const std::vector<LaunchReport>& launches() const {
        return launches_;
    }
    /// All launches together.
    Counters total() const;
    /// One line a kernel.
    std::string table() const;

    static Recording* active();
    void add(LaunchReport report) {
        launches_.push_back(std::move(report));
    }

private:
    std::vector<LaunchReport> launches_;
    Recording* outer_;
};

}  // namespace wavllm::simt
