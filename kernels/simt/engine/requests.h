#pragma once
// From the loads and stores of single lanes back to the requests of warps. Lanes run one after the other here, so each
// lane's accesses are written down, and when the warp has reached a common point (barrier, full warp operation, end) the
// n-th execution of an instruction by one lane is put together with the n-th by the others.

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/simt/counters.h"

namespace wavllm::simt {

enum class RequestKind : uint8_t { global_load, global_store, shared_load, shared_store };

class RequestLog {
public:
    struct Record {
        uint64_t address;
        uint32_t pc;
        uint16_t bytes;
        RequestKind kind;
    };
    void add(int warp, int lane, const Record& record) {
        lanes_[static_cast<size_t>(warp)][static_cast<size_t>(lane)].push_back(record);
    }
    /// Counts what the warp did since the last time. participants: the lanes that were live then.
    void flush(int warp, uint32_t participants, Counters& counters);
    void clear();

private:
    std::array<std::array<std::vector<Record>, 32>, 32> lanes_;
};

/// One request: the accesses of at most 32 lanes by one instruction.
void count_request(const RequestLog::Record* records, int n, Counters& counters);

}  // namespace wavllm::simt
