#include <fmt/format.h>

#include <bit>

#include "kernels/simt/emulator.h"
#include "kernels/simt/engine/block.h"
#include "kernels/simt/engine/shared_memory.h"

namespace wavllm::simt {

thread_local Block* current_block = nullptr;

namespace {

// Kernels keep their arrays in registers or shared memory; what is on the stack is spilled scalars and the engine's own
// frames. Sanitizers make frames several times larger.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 256 * 1024;
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif

void fiber_entry(boost::context::detail::transfer_t t) {
    Block& block = *current_block;
    arrived(block.running(), t);
    block.fiber_loop();
}

}  // namespace

Block::Block() {
    threads_.resize(max_threads);
    indices_.resize(max_threads);
    copies_.resize(max_threads);
    allocate_shared(shared_, shared_state_, shared_cells_);
}

Block::~Block() {
    for (const auto& f : fibers_) delete_stack(f->stack, f->stack_bytes);
    free_shared(shared_, shared_state_, shared_cells_);
}

void Block::reset(int64_t linear) {
    linear_ = linear;
    const dim3 grid = launch_->shape.grid, block = launch_->shape.block;
    const uint64_t l = static_cast<uint64_t>(linear);
    block_index_ = {static_cast<unsigned>(l % grid.x), static_cast<unsigned>(l / grid.x % grid.y),
                    static_cast<unsigned>(l / grid.x / grid.y)};
    checked_ = launch_->shape.checked;
    counting_ = checked_ && launch_->counting;
    races_ = checked_ && launch_->races;
    threads_count_ = launch_->threads;
    warps_count_ = launch_->warps;
    exited_ = 0;
    random_ = (launch_->seed * 0x9e3779b97f4a7c15u + l + 1) * 0xbf58476d1ce4e5b9u | 1u;
    if (indices_of_.x != block.x || indices_of_.y != block.y || indices_of_.z != block.z) {
        for (unsigned t = 0; t < static_cast<unsigned>(threads_count_); ++t)
            indices_[t] = {t % block.x, t / block.x % block.y, t / block.x / block.y};
        indices_of_ = block;
    }
    for (int t = 0; t < threads_count_; ++t) threads_[static_cast<size_t>(t)] = Thread{};
    runnable_warps_ = static_cast<uint32_t>((uint64_t{1} << warps_count_) - 1);
    for (int w = 0; w < warps_count_; ++w) {
        Warp& warp = warps_[static_cast<size_t>(w)];
        const int lanes = std::min(32, threads_count_ - 32 * w);
        warp.lanes = warp.live = warp.runnable = static_cast<uint32_t>((uint64_t{1} << lanes) - 1);
        warp.counted = warp.lanes;
        warp.waiting = warp.asking = 0;
        warp.clock = 1;
        warp.seen.fill(0);
        warp.lanes_ordered = false;
    }
    current_warp_ = 0;
    at_barrier_ = 0;
    named_.fill(NamedBarrier{});
    did_atomic_ = false;
    if (copies_used_)
        for (Copies& c : copies_) c = Copies{};
    copies_used_ = false;
    if (counting_ && log_ == nullptr) log_ = std::make_unique<RequestLog>();
    counters_ = Counters{};
    ++epoch_;
    reset_shared(shared_, shared_state_, shared_used_, launch_->shape.shared_bytes);
    shared_used_ = shared_round(launch_->shape.shared_bytes);
    static_bytes_ = 0;
    variables_.clear();
}

void Block::run(Launch& launch, int64_t linear) {
    launch_ = &launch;
    reset(linear);
    current_block = this;
    running_ = &main_;
    go(pick());
    current_block = nullptr;
    if (faulted_) {
        // Fibers that wait in the middle of the kernel are never resumed.
        for (const auto& f : fibers_)
            if (!f->idle) {
                prepare(*f, fiber_entry);
                f->idle = true;
                idle_.push_back(f.get());
            }
        const std::string text = format(fault_);
        fault_ = suspicion_ = Fault{};
        faulted_ = suspected_ = false;
        if (log_ != nullptr) log_->clear();
        std::lock_guard lock(launch.mutex);
        if (linear < launch.first_fault) {
            launch.first_fault = linear;
            launch.fault = text;
        }
        return;
    }
    if (launch.counting) {
        std::lock_guard lock(launch.mutex);
        launch.counters.add(counters_);
    }
}

void Block::fiber_loop() {
    for (;;) {
        current_ = running_->thread;
        threads_[static_cast<size_t>(current_)].fiber = running_;
        threads_[static_cast<size_t>(current_)].state = State::runnable;
        launch_->call.one_thread(launch_->call.arguments);
        thread_exits();
        const int next = pick();
        if (next >= 0 && threads_[static_cast<size_t>(next)].state == State::unstarted) {
            running_->thread = next;
            continue;
        }
        if (next < 0 && exited_ < threads_count_) deadlock();
        Fiber& self = *running_;
        self.idle = true;
        idle_.push_back(&self);
        if (next >= 0) {
            go(next);
        } else {
            running_ = &main_;
            switch_to(self, main_);
        }
    }
}

void Block::go(int thread) {
    Fiber& self = *running_;
    Thread& t = threads_[static_cast<size_t>(thread)];
    Fiber& to = t.state == State::unstarted ? free_fiber() : *t.fiber;
    to.thread = thread;
    running_ = &to;
    current_ = thread;
    switch_to(self, to);
    // Whoever came back set running_ and current_.
}

Fiber& Block::free_fiber() {
    if (idle_.empty()) {
        auto f = std::make_unique<Fiber>();
        f->stack_bytes = kStackBytes;
        f->stack = new_stack(kStackBytes);
        prepare(*f, fiber_entry);
        fibers_.push_back(std::move(f));
        return *fibers_.back();
    }
    Fiber& f = *idle_.back();
    idle_.pop_back();
    f.idle = false;
    return f;
}

uint32_t Block::random() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return static_cast<uint32_t>(random_ >> 24);
}

namespace {

int nth_bit(uint32_t mask, uint32_t n) {
    for (; n > 0; --n) mask &= mask - 1;
    return std::countr_zero(mask);
}

}  // namespace

/// The thread to run next, taken from the runnable ones; -1 if there is none. A warp goes on as long as it can, most of the
/// time: that is how a GPU runs too, and it keeps the log of requests short.
int Block::pick() {
    const bool shuffled = launch_->seed != 0;
    if (warps_[static_cast<size_t>(current_warp_)].runnable == 0 &&
        warps_[static_cast<size_t>(current_warp_)].asking != 0)
        resolve_active_mask(current_warp_);
    if (runnable_warps_ == 0)
        for (int w = 0; w < warps_count_ && runnable_warps_ == 0; ++w)
            if (warps_[static_cast<size_t>(w)].asking != 0) resolve_active_mask(w);
    if (runnable_warps_ == 0) return -1;
    if ((runnable_warps_ >> current_warp_ & 1u) == 0 || (shuffled && random() % 16 == 0))
        current_warp_ = shuffled
                            ? nth_bit(runnable_warps_, random() % static_cast<uint32_t>(std::popcount(runnable_warps_)))
                            : std::countr_zero(runnable_warps_);
    Warp& w = warps_[static_cast<size_t>(current_warp_)];
    const int lane = shuffled ? nth_bit(w.runnable, random() % static_cast<uint32_t>(std::popcount(w.runnable)))
                              : std::countr_zero(w.runnable);
    w.runnable &= ~(1u << lane);
    if (w.runnable == 0) runnable_warps_ &= ~(1u << current_warp_);
    return 32 * current_warp_ + lane;
}

void Block::wake(int thread) {
    threads_[static_cast<size_t>(thread)].state = State::runnable;
    warps_[static_cast<size_t>(thread / 32)].runnable |= 1u << (thread % 32);
    runnable_warps_ |= 1u << (thread / 32);
}

void Block::wait(State state, Site where) {
    Thread& t = threads_[static_cast<size_t>(current_)];
    t.state = state;
    t.waits_at = where;
    const int next = pick();
    if (next < 0) deadlock();
    if (next != current_) go(next);
}

/// Lets another thread run, whichever the order: a spin lock waits for one that is not next.
void Block::yield() {
    if (runnable_warps_ == 0) return;
    current_warp_ = nth_bit(runnable_warps_, random() % static_cast<uint32_t>(std::popcount(runnable_warps_)));
    Warp& w = warps_[static_cast<size_t>(current_warp_)];
    const int lane = nth_bit(w.runnable, random() % static_cast<uint32_t>(std::popcount(w.runnable)));
    w.runnable &= ~(1u << lane);
    if (w.runnable == 0) runnable_warps_ &= ~(1u << current_warp_);
    wake(current_);
    go(32 * current_warp_ + lane);
}

void Block::thread_exits() {
    Thread& t = threads_[static_cast<size_t>(current_)];
    if (copies_used_) finish_copies(current_, INT32_MAX);
    t.state = State::exited;
    ++exited_;
    Warp& w = warps_[static_cast<size_t>(current_ / 32)];
    const uint32_t bit = 1u << (current_ % 32);
    w.live &= ~bit;
    for (uint32_t left = w.waiting & ~w.asking; left != 0; left &= left - 1) {
        const int other = current_ / 32 * 32 + std::countr_zero(left);
        const WarpRequest& r = *threads_[static_cast<size_t>(other)].request;
        if ((r.mask & bit) == 0) continue;
        Fault f{
            other,
            fmt::format("waits in {} for mask {:#010x}, which names {}", warp_op_name(r.op), r.mask, name_of(current_)),
            {r.where}};
        f.and_ = ", but that has exited";
        f.hint = "; name only lanes that get here, or let all lanes stay";
        fail(std::move(f));
    }
    if (w.live == 0 && counting_) count_requests(current_ / 32);
    if (exited_ == threads_count_) fail_if_suspected();
    release_barrier_if_complete();
}

}  // namespace wavllm::simt
