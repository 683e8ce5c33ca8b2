// How a mistake of a kernel becomes an error of its launch.

#include <fmt/format.h>

#include "kernels/simt/engine/block.h"

namespace wavllm::simt {

std::string Block::name_of(int thread) const {
    const uint3 i = indices_[static_cast<size_t>(thread)];
    return fmt::format("thread ({},{},{})", i.x, i.y, i.z);
}

std::string Block::where_it_is(int thread) const {
    const Thread& t = threads_[static_cast<size_t>(thread)];
    switch (t.state) {
        case State::at_barrier: return barrier_name(barrier_kind_);
        case State::at_named_barrier: return fmt::format("named barrier {}", t.named);
        case State::in_warp_operation:
            return fmt::format("{} with mask {:#010x}", warp_op_name(t.request->op), t.request->mask);
        default: return "nothing";
    }
}

/// Nobody can go on: names the first waiting thread and one that it waits for in vain.
void Block::deadlock() {
    int first = -1, other = -1;
    for (int t = 0; t < threads_count_ && first < 0; ++t)
        if (threads_[static_cast<size_t>(t)].state != State::exited) first = t;
    const Thread& a = threads_[static_cast<size_t>(first)];
    for (int t = 0; t < threads_count_ && other < 0; ++t) {
        const Thread& b = threads_[static_cast<size_t>(t)];
        if (t == first || b.state == State::exited) continue;
        // A lane waits for those its mask names, a barrier for all.
        const bool wanted =
            a.state != State::in_warp_operation || (t / 32 == first / 32 && (a.request->mask >> (t % 32) & 1u) != 0);
        if (wanted && !(b.state == a.state && b.waits_at == a.waits_at)) other = t;
    }
    Fault f{first, "waits for ever at " + where_it_is(first), {a.waits_at}};
    if (other >= 0) {
        f.and_ = fmt::format(": {} never arrives, it waits at {}", name_of(other), where_it_is(other));
        f.other = {threads_[static_cast<size_t>(other)].waits_at};
    } else if (a.state == State::at_named_barrier) {
        const NamedBarrier& n = named_[static_cast<size_t>(a.named)];
        f.and_ = fmt::format(": {} threads are to meet there, {} came", n.expected, n.waiting);
    }
    fail(std::move(f));
}

void Block::suspect(Fault&& fault) {
    if (!races_) fail(std::move(fault));
    if (!suspected_) suspicion_ = std::move(fault);
    suspected_ = true;
}

void Block::fail_if_suspected() {
    if (suspected_) fail(std::move(suspicion_));
}

void Block::fail(Fault&& fault) {
    // What a thread did after it read poison is a consequence.
    fault_ = suspected_ && !fault.race ? std::move(suspicion_) : std::move(fault);
    faulted_ = true;
    Fiber& self = *running_;
    running_ = &main_;
    switch_to(self, main_);
    __builtin_unreachable();  // nobody resumes a fiber that failed
}

std::string Block::format(const Fault& f) const {
    const std::string name = launch_->shape.name != nullptr ? launch_->shape.name : kernel_name(launch_->call.kernel);
    std::string text = fmt::format("{}: block ({},{},{}) {} {}", name, block_index_.x, block_index_.y, block_index_.z,
                                   name_of(f.thread), f.what);
    if (f.place.known()) text += fmt::format(" ({})", describe(f.place));
    text += f.and_;
    if (f.other.known()) text += fmt::format(" ({})", describe(f.other));
    return text + f.hint;
}

}  // namespace wavllm::simt
