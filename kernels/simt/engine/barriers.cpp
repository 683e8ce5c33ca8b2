#include <fmt/format.h>

#include <bit>

#include "kernels/simt/engine/block.h"

namespace wavllm::simt {

const char* barrier_name(Barrier kind) {
    switch (kind) {
        case Barrier::sync: return "__syncthreads";
        case Barrier::count: return "__syncthreads_count";
        case Barrier::all: return "__syncthreads_and";
        case Barrier::any: return "__syncthreads_or";
        case Barrier::named: return "named barrier";
    }
    return "?";
}

int Block::barrier(Barrier kind, int predicate, Site where) {
    if (at_barrier_ > 0) {
        int first = 0;
        while (threads_[static_cast<size_t>(first)].state != State::at_barrier) ++first;
        const Site theirs = threads_[static_cast<size_t>(first)].waits_at;
        if (kind != barrier_kind_ || !(theirs == where)) {
            Fault f{current_, fmt::format("comes to {}", barrier_name(kind)), {where}};
            f.and_ = fmt::format(", but {} waits at another barrier, {}", name_of(first), barrier_name(barrier_kind_));
            f.other = {theirs};
            f.hint = "; all threads of a block must come to the same one";
            fail(std::move(f));
        }
    } else {
        barrier_kind_ = kind;
        barrier_true_ = 0;
    }
    ++at_barrier_;
    if (predicate != 0) ++barrier_true_;
    Thread& t = threads_[static_cast<size_t>(current_)];
    t.state = State::at_barrier;
    t.waits_at = where;
    release_barrier_if_complete();
    if (t.state == State::at_barrier) {
        wait(State::at_barrier, where);
    } else {
        // The last one was woken with the others. Let chance decide who goes first, unless the order is the natural one.
        wait(State::runnable, where);
    }
    return barrier_result_;
}

/// Threads that have exited count as having arrived.
void Block::release_barrier_if_complete() {
    if (at_barrier_ == 0 || at_barrier_ + exited_ < threads_count_) return;
    fail_if_suspected();
    switch (barrier_kind_) {
        case Barrier::count: barrier_result_ = barrier_true_; break;
        case Barrier::all: barrier_result_ = barrier_true_ == at_barrier_ ? 1 : 0; break;
        case Barrier::any: barrier_result_ = barrier_true_ > 0 ? 1 : 0; break;
        default: barrier_result_ = 0;
    }
    at_barrier_ = 0;
    ++counters_.barriers;
    if (counting_)
        for (int w = 0; w < warps_count_; ++w)
            if (warps_[static_cast<size_t>(w)].live != 0) count_requests(w);
    if (races_) order_warps(static_cast<uint32_t>((uint64_t{1} << warps_count_) - 1));
    for (int t = 0; t < threads_count_; ++t)
        if (threads_[static_cast<size_t>(t)].state == State::at_barrier) wake(t);
}

/// What these warps did up to now is ordered before what they do next, and so is what was ordered before any of them.
void Block::order_warps(uint32_t warps) {
    std::array<uint32_t, 32> seen{};
    for (int w = 0; w < warps_count_; ++w)
        if ((warps >> w & 1u) != 0) {
            Warp& warp = warps_[static_cast<size_t>(w)];
            warp.seen[static_cast<size_t>(w)] = ++warp.clock;
            warp.lanes_ordered = false;
            for (int v = 0; v < warps_count_; ++v)
                seen[static_cast<size_t>(v)] =
                    std::max(seen[static_cast<size_t>(v)], warp.seen[static_cast<size_t>(v)]);
        }
    for (int w = 0; w < warps_count_; ++w)
        if ((warps >> w & 1u) != 0) warps_[static_cast<size_t>(w)].seen = seen;
}

void Block::named_barrier(int id, int threads, Site where) {
    Fault f{current_, fmt::format("comes to named barrier {} for {} threads", id, threads), {where}};
    if (id < 1 || id > 15) {
        f.hint = "; barriers 1 to 15 are free (0 is __syncthreads)";
        fail(std::move(f));
    }
    if (threads <= 0 || threads % 32 != 0 || threads > threads_count_) {
        f.hint = fmt::format("; it must be a multiple of 32 and at most the block's {}", threads_count_);
        fail(std::move(f));
    }
    NamedBarrier& n = named_[static_cast<size_t>(id)];
    if (n.waiting > 0 && n.expected != threads) {
        f.and_ = fmt::format(", but others wait there for {}", n.expected);
        f.other = {n.where};
        fail(std::move(f));
    }
    n.expected = threads;
    n.where = where;
    ++n.waiting;
    n.warps |= 1u << (current_ / 32);
    threads_[static_cast<size_t>(current_)].named = id;
    if (n.waiting < threads) {
        wait(State::at_named_barrier, where);
        return;
    }
    // Hardware counts warps: one that is here with a part of its lanes is a mistake.
    if (std::popcount(n.warps) * 32 != threads) {
        f.hint = "; whole warps must come, and these threads are of more warps than that";
        fail(std::move(f));
    }
    if (races_) order_warps(n.warps);
    for (int t = 0; t < threads_count_; ++t) {
        const Thread& other = threads_[static_cast<size_t>(t)];
        if (other.state == State::at_named_barrier && other.named == id) wake(t);
    }
    n = NamedBarrier{};
    ++counters_.barriers;
    wake(current_);
    wait(State::runnable, where);
}

}  // namespace wavllm::simt
