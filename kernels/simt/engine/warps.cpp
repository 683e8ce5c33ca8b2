#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "kernels/simt/engine/block.h"

namespace wavllm::simt {

const char* warp_op_name(WarpOp op) {
    static constexpr const char* names[] = {
        "__syncwarp",        "__shfl_sync",       "__shfl_up_sync",    "__shfl_down_sync",  "__shfl_xor_sync",
        "__ballot_sync",     "__all_sync",        "__any_sync",        "__reduce_add_sync", "__reduce_add_sync",
        "__reduce_min_sync", "__reduce_min_sync", "__reduce_max_sync", "__reduce_max_sync", "__reduce_and_sync",
        "__reduce_or_sync",  "__reduce_xor_sync", "__match_any_sync",  "__match_all_sync",  "__activemask",
        "mma_m16n8k16",      "mma_m16n8k16",      "ldmatrix"};
    return names[static_cast<size_t>(op)];
}

namespace {

/// The lane whose value a shuffle gives to `lane`: PTX ISA, shfl.sync.
int source_lane(const WarpRequest& r, int lane) {
    const int first = lane & ~(r.width - 1), last = first + r.width - 1;
    switch (r.op) {
        case WarpOp::shfl: return first + (r.argument & (r.width - 1));
        case WarpOp::shfl_up: return lane - r.argument >= first ? lane - r.argument : lane;
        case WarpOp::shfl_down: return lane + r.argument <= last ? lane + r.argument : lane;
        default: return (lane ^ r.argument) <= last ? lane ^ r.argument : lane;
    }
}

bool is_shuffle(WarpOp op) {
    return op == WarpOp::shfl || op == WarpOp::shfl_up || op == WarpOp::shfl_down || op == WarpOp::shfl_xor;
}

uint64_t fold(WarpOp op, uint64_t a, uint64_t b) {
    const uint32_t x = static_cast<uint32_t>(a), y = static_cast<uint32_t>(b);
    const int32_t s = static_cast<int32_t>(x), t = static_cast<int32_t>(y);
    switch (op) {
        case WarpOp::ballot:
        case WarpOp::or_u32:
        case WarpOp::any: return x | y;
        case WarpOp::all:
        case WarpOp::and_u32: return x & y;
        case WarpOp::xor_u32: return x ^ y;
        case WarpOp::add_s32:
        case WarpOp::add_u32: return x + y;
        case WarpOp::min_s32: return static_cast<uint32_t>(std::min(s, t));
        case WarpOp::max_s32: return static_cast<uint32_t>(std::max(s, t));
        case WarpOp::min_u32: return std::min(x, y);
        default: return std::max(x, y);
    }
}

}  // namespace

void Block::check_mask(const WarpRequest& r, int lane) {
    const Warp& w = warps_[static_cast<size_t>(current_ / 32)];
    const uint32_t gone = r.mask & ~w.live;
    const bool self_missing = (r.mask >> lane & 1u) == 0;
    const bool bad_width = r.width < 1 || r.width > 32 || (r.width & (r.width - 1)) != 0;
    const bool whole = r.op == WarpOp::mma_bf16 || r.op == WarpOp::mma_f16 || r.op == WarpOp::ldmatrix;
    if (gone == 0 && !self_missing && !bad_width && !(whole && r.mask != w.lanes)) return;
    Fault f{current_, fmt::format("calls {} with mask {:#010x}", warp_op_name(r.op), r.mask), {r.where}};
    if (whole) {
        f.what = fmt::format("calls {} in a warp of {} live lanes", warp_op_name(r.op), std::popcount(w.live));
        f.hint = "; it needs all 32";
    } else if (self_missing) {
        f.and_ = fmt::format(", which does not name its own lane {}", lane);
    } else if (bad_width) {
        f.and_ = fmt::format(" and width {}; a width is 1, 2, 4, 8, 16 or 32", r.width);
    } else {
        const int other = std::countr_zero(gone);
        const int thread = current_ / 32 * 32 + other;
        f.and_ = (w.lanes >> other & 1u) == 0
                     ? fmt::format(", which names lane {}, but the block's {} threads leave this warp only {} lanes",
                                   other, threads_count_, std::popcount(w.lanes))
                     : fmt::format(", which names {}, but that has exited", name_of(thread));
        f.hint = "; name only lanes that get here, or let all lanes stay";
    }
    fail(std::move(f));
}

void Block::warp_operation(WarpRequest& r) {
    const int lane = current_ % 32, first = current_ - lane;
    Warp& w = warps_[static_cast<size_t>(current_ / 32)];
    const uint32_t bit = 1u << lane;
    threads_[static_cast<size_t>(current_)].request = &r;
    if (r.op == WarpOp::active_mask) {  // answered when no lane of the warp can go on without
        w.waiting |= bit;
        w.asking |= bit;
        wait(State::in_warp_operation, r.where);
        return;
    }
    check_mask(r, lane);
    uint32_t here = bit;
    for (uint32_t others = w.waiting & ~w.asking & r.mask & ~bit; others != 0; others &= others - 1) {
        const int other = std::countr_zero(others);
        const WarpRequest& o = *threads_[static_cast<size_t>(first + other)].request;
        if (o.mask == r.mask && o.op == r.op) {
            here |= 1u << other;
        } else if ((o.mask & bit) != 0) {  // each waits for the other
            Fault f{current_, fmt::format("calls {} with mask {:#010x}", warp_op_name(r.op), r.mask), {r.where}};
            f.and_ = fmt::format(", but {} waits for it in {} with mask {:#010x}", name_of(first + other),
                                 warp_op_name(o.op), o.mask);
            f.other = {o.where};
            f.hint = "; all lanes of a mask must call the same operation with the same mask";
            fail(std::move(f));
        }
    }
    if (here != r.mask) {
        w.waiting |= bit;
        wait(State::in_warp_operation, r.where);
        return;
    }
    w.waiting &= ~r.mask;
    execute(w, r);
    for (uint32_t others = r.mask & ~bit; others != 0; others &= others - 1) wake(first + std::countr_zero(others));
    if (launch_->seed != 0) {
        wake(current_);
        wait(State::runnable, r.where);
    }
}

void Block::execute(Warp& w, WarpRequest& last) {
    const int first = current_ / 32 * 32;
    ++counters_.warp_operations;
    if (last.mask != w.live) ++counters_.partial_warp_operations;
    if (counting_ && last.mask == w.live) count_requests(current_ / 32);
    std::array<WarpRequest*, 32> lanes{};
    for (uint32_t m = last.mask; m != 0; m &= m - 1) {
        const int lane = std::countr_zero(m);
        lanes[static_cast<size_t>(lane)] = threads_[static_cast<size_t>(first + lane)].request;
    }
    const auto each = [&](auto&& f) {
        for (uint32_t m = last.mask; m != 0; m &= m - 1) {
            const int lane = std::countr_zero(m);
            f(lane, *lanes[static_cast<size_t>(lane)]);
        }
    };
    if (last.op == WarpOp::sync) {
        if (races_) order_lanes(w, last.mask);
    } else if (is_shuffle(last.op)) {
        each([&](int lane, WarpRequest& r) {
            const int from = source_lane(r, lane);
            if ((last.mask >> from & 1u) == 0) {
                Fault f{first + lane,
                        fmt::format("reads lane {} in {}, which mask {:#010x} does not name", from, warp_op_name(r.op),
                                    r.mask),
                        {r.where}};
                fail(std::move(f));
            }
            r.result = lanes[static_cast<size_t>(from)]->value;
        });
    } else if (last.op == WarpOp::match_any) {
        each([&](int, WarpRequest& r) {
            r.result = 0;
            each([&](int other, const WarpRequest& o) { r.result |= o.value == r.value ? uint64_t{1} << other : 0; });
        });
    } else if (last.op == WarpOp::match_all) {
        bool equal = true;
        each([&](int, const WarpRequest& o) { equal = equal && o.value == last.value; });
        each([&](int, WarpRequest& r) { r.result = equal ? last.mask : 0; });
    } else if (last.op == WarpOp::mma_bf16 || last.op == WarpOp::mma_f16) {
        mma(lanes.data());
        counters_.flops += 2.0 * 16 * 8 * 16;
    } else if (last.op == WarpOp::ldmatrix) {
        ldmatrix(lanes.data());
    } else {
        bool begun = false;
        uint64_t sum = 0;
        each([&](int lane, const WarpRequest& r) {
            const uint64_t v = last.op == WarpOp::ballot ? r.value << lane : r.value;
            sum = begun ? fold(last.op, sum, v) : v;
            begun = true;
        });
        each([&](int, WarpRequest& r) { r.result = sum; });
    }
}

/// __syncwarp: what these lanes did before it is ordered before what they do after.
void Block::order_lanes(Warp& w, uint32_t mask) {
    if (!w.lanes_ordered) {
        w.lane_clock.fill(1);
        for (auto& seen : w.lane_seen) seen.fill(0);
        w.lanes_ordered = true;
    }
    std::array<uint16_t, 32> seen{};
    for (uint32_t m = mask; m != 0; m &= m - 1) {
        const size_t i = static_cast<size_t>(std::countr_zero(m));
        // A clock that has reached its end stays there; ordered() knows.
        if (w.lane_clock[i] != UINT16_MAX) ++w.lane_clock[i];
        w.lane_seen[i][i] = w.lane_clock[i];
        for (size_t j = 0; j < 32; ++j) seen[j] = std::max(seen[j], w.lane_seen[i][j]);
    }
    for (uint32_t m = mask; m != 0; m &= m - 1) w.lane_seen[static_cast<size_t>(std::countr_zero(m))] = seen;
}

/// No lane of the warp can go on, so the lanes that wait in one __activemask are those that are together there.
void Block::resolve_active_mask(int warp) {
    Warp& w = warps_[static_cast<size_t>(warp)];
    while (w.asking != 0) {
        const Site where = threads_[static_cast<size_t>(32 * warp + std::countr_zero(w.asking))].waits_at;
        uint32_t together = 0;
        for (uint32_t m = w.asking; m != 0; m &= m - 1) {
            const int lane = std::countr_zero(m);
            if (threads_[static_cast<size_t>(32 * warp + lane)].waits_at == where) together |= 1u << lane;
        }
        w.asking &= ~together;
        w.waiting &= ~together;
        for (uint32_t m = together; m != 0; m &= m - 1) {
            const int thread = 32 * warp + std::countr_zero(m);
            threads_[static_cast<size_t>(thread)].request->result = together;
            wake(thread);
        }
    }
}

}  // namespace wavllm::simt
