#include "kernels/simt/engine/requests.h"

#include <algorithm>
#include <bit>

namespace wavllm::simt {

namespace {

using Record = RequestLog::Record;

/// Sectors of 32 bytes touched, and the least number that could hold the bytes that were touched.
void count_global(const Record* r, int n, uint64_t& sectors, uint64_t& ideal) {
    std::array<std::pair<uint64_t, uint64_t>, 32> spans;
    for (int i = 0; i < n; ++i) spans[static_cast<size_t>(i)] = {r[i].address, r[i].address + r[i].bytes};
    std::sort(spans.begin(), spans.begin() + n);
    uint64_t bytes = 0, covered = 0, last_sector = UINT64_MAX;
    for (int i = 0; i < n; ++i) {
        const auto [begin, end] = spans[static_cast<size_t>(i)];
        const uint64_t fresh = std::max(begin, covered);
        if (end > fresh) bytes += end - fresh;
        covered = std::max(covered, end);
        for (uint64_t s = begin / 32; s <= (end - 1) / 32; ++s)
            if (last_sector == UINT64_MAX || s > last_sector) {
                ++sectors;
                last_sector = s;
            }
    }
    ideal += (bytes + 31) / 32;
}

/// Accesses of 8 bytes go half a warp at a time, of 16 a quarter. Within such a part each bank delivers one word at a time,
/// to as many lanes as want it.
void count_shared(const Record* r, int n, uint64_t& wavefronts, uint64_t& ideal) {
    const int lanes = std::max(1, 128 / std::max<int>(r[0].bytes, 4));
    for (int begin = 0; begin < n; begin += lanes) {
        std::array<uint64_t, 160> words;
        size_t count = 0;
        for (int i = begin; i < std::min(n, begin + lanes); ++i)
            for (uint64_t w = r[i].address / 4; w <= (r[i].address + r[i].bytes - 1) / 4 && count < words.size(); ++w)
                words[count++] = w;
        std::sort(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(count));
        const auto end = std::unique(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(count));
        std::array<uint32_t, 32> bank{};
        uint32_t busiest = 0;
        for (auto w = words.begin(); w != end; ++w) busiest = std::max(busiest, ++bank[*w % 32]);
        wavefronts += busiest;
        ideal += static_cast<uint64_t>((end - words.begin() + 31) / 32);
    }
}

}  // namespace

void count_request(const Record* all, int count, Counters& c) {
    // A lane that takes part and moves nothing (ldmatrix.x1, cp.async of zeros) has left an empty record.
    std::array<Record, 32> r;
    int n = 0;
    uint64_t bytes = 0;
    for (int i = 0; i < count; ++i) {
        if (all[i].bytes == 0) continue;
        bytes += all[i].bytes;
        r[static_cast<size_t>(n++)] = all[i];
    }
    if (n == 0) return;
    switch (r[0].kind) {
        case RequestKind::global_load:
            ++c.load_requests;
            c.bytes_loaded += bytes;
            count_global(r.data(), n, c.load_sectors, c.load_sectors_ideal);
            break;
        case RequestKind::global_store:
            ++c.store_requests;
            c.bytes_stored += bytes;
            count_global(r.data(), n, c.store_sectors, c.store_sectors_ideal);
            break;
        case RequestKind::shared_load:
        case RequestKind::shared_store:
            ++c.shared_requests;
            (r[0].kind == RequestKind::shared_load ? c.shared_bytes_loaded : c.shared_bytes_stored) += bytes;
            count_shared(r.data(), n, c.shared_wavefronts, c.shared_wavefronts_ideal);
            break;
    }
}

void RequestLog::flush(int warp, uint32_t participants, Counters& counters) {
    auto& lanes = lanes_[static_cast<size_t>(warp)];
    size_t longest = 0;
    for (const auto& lane : lanes) longest = std::max(longest, lane.size());
    if (longest == 0) return;

    // The usual case: all lanes did the same, so the k-th records belong together.
    const auto same = [&](const std::vector<Record>& a, const std::vector<Record>& b) {
        return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const Record& x, const Record& y) {
                   return x.pc == y.pc && x.kind == y.kind;
               });
    };
    const auto& model = lanes[static_cast<size_t>(std::countr_zero(participants))];
    bool uniform = true;
    for (uint32_t m = participants; m != 0 && uniform; m &= m - 1)
        uniform = same(model, lanes[static_cast<size_t>(std::countr_zero(m))]);
    std::array<Record, 32> request;
    if (uniform) {
        for (size_t k = 0; k < model.size(); ++k) {
            int n = 0;
            for (uint32_t m = participants; m != 0; m &= m - 1)
                request[static_cast<size_t>(n++)] = lanes[static_cast<size_t>(std::countr_zero(m))][k];
            count_request(request.data(), n, counters);
        }
    } else {
        ++counters.divergent_intervals;
        struct Keyed {
            uint32_t pc;
            uint32_t nth;  ///< execution of this instruction by this lane
            Record record;
        };
        std::vector<Keyed> all;
        for (auto& lane : lanes) {
            std::stable_sort(lane.begin(), lane.end(), [](const Record& a, const Record& b) {
                return a.pc != b.pc ? a.pc < b.pc : a.kind < b.kind;
            });
            for (size_t i = 0, nth = 0; i < lane.size(); ++i) {
                nth = i > 0 && lane[i - 1].pc == lane[i].pc && lane[i - 1].kind == lane[i].kind ? nth + 1 : 0;
                all.push_back({lane[i].pc, static_cast<uint32_t>(nth), lane[i]});
            }
        }
        // Stable: within a request records stay in the order of lanes.
        std::stable_sort(all.begin(), all.end(), [](const Keyed& a, const Keyed& b) {
            if (a.pc != b.pc) return a.pc < b.pc;
            if (a.record.kind != b.record.kind) return a.record.kind < b.record.kind;
            return a.nth < b.nth;
        });
        for (size_t i = 0; i < all.size();) {
            int n = 0;
            const Keyed& head = all[i];
            for (; i < all.size() && all[i].pc == head.pc && all[i].nth == head.nth &&
                   all[i].record.kind == head.record.kind;
                 ++i)
                request[static_cast<size_t>(n++)] = all[i].record;
            count_request(request.data(), n, counters);
        }
    }
    for (auto& lane : lanes) lane.clear();
}

void RequestLog::clear() {
    for (auto& warp : lanes_)
        for (auto& lane : warp) lane.clear();
}

}  // namespace wavllm::simt
