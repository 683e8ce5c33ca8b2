#pragma once
// A block at work. Each thread of the pool owns one Block and runs one block of a launch after the other in it.
//
// Threads of the block start lazily: a fiber takes a thread, runs it, and if it ends without ever having waited takes the
// next. Only when a thread must wait does another fiber begin. So a kernel without barriers and warp operations is a plain
// loop on one fiber, and nobody has to foresee which kernel that is.
//
// Files: schedule.cpp (who runs next), faults.cpp (errors), barriers.cpp, warps.cpp, access.cpp (every load and store of a checked kernel),
// shared_memory.cpp, copies.cpp (cp.async), atomics.cpp, tensor_core.cpp, requests.cpp (counters), hooks.cpp.

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/simt/counters.h"
#include "kernels/simt/engine/fiber.h"
#include "kernels/simt/engine/place.h"
#include "kernels/simt/engine/races.h"
#include "kernels/simt/engine/requests.h"
#include "kernels/simt/host/launch.h"

namespace wavllm::simt {

/// What one launch's blocks have in common.
struct Launch {
    LaunchShape shape;
    Call call;
    int threads = 0, warps = 0;  ///< of a block
    uint64_t seed = 0;
    uint32_t serial = 0;  ///< of this launch; never 0
    bool counting = false, races = false, concurrent = false;
    std::atomic<bool> fenced{false};              ///< some thread called __threadfence
    std::atomic<int64_t> first_fault{INT64_MAX};  ///< lowest block that failed: its error is the launch's
    std::mutex mutex;                             ///< of the following
    std::string fault;
    Counters counters;
};

/// An error of a kernel, put together where lines can be looked up (not on a fiber):
/// "KERNEL: block B thread T {what} ({place}){and}({other}){hint}". Put together in a variable before fail() takes it:
/// fail() never returns, so a temporary that is still alive then is never destroyed.
struct Fault {
    int thread = 0;
    std::string what;
    Place place;
    std::string and_{};
    Place other{};
    std::string hint{};
    bool race = false;
};

enum class State : uint8_t { unstarted, runnable, in_warp_operation, at_barrier, at_named_barrier, exited };

struct Thread {
    Fiber* fiber = nullptr;
    State state = State::unstarted;
    int named = 0;  ///< which named barrier it waits at
    Site waits_at;
    WarpRequest* request = nullptr;  ///< while in_warp_operation
    uint32_t spins = 0;              ///< atomics that may be a spin lock
};

struct Warp {
    uint32_t lanes = 0;     ///< that exist
    uint32_t live = 0;      ///< and have not exited
    uint32_t runnable = 0;  ///< not yet started, or woken
    uint32_t waiting = 0;   ///< in a warp operation
    uint32_t asking = 0;    ///< of these, in __activemask
    uint32_t counted = 0;   ///< that were live when its requests were last counted
    // Clocks of the race detector, see races.h.
    uint32_t clock = 1;
    std::array<uint32_t, 32> seen{};  ///< of each warp of the block: what it did before this is ordered before us
    bool lanes_ordered = false;       ///< the two arrays below are in use
    std::array<uint16_t, 32> lane_clock{};
    std::array<std::array<uint16_t, 32>, 32> lane_seen{};
};

enum class Access : uint8_t { read, write, atomic };

const char* warp_op_name(WarpOp op);
const char* barrier_name(Barrier kind);

class Block {
public:
    Block();
    ~Block();
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;

    /// Runs block `linear` of the launch. A fault is left in the launch.
    void run(Launch& launch, int64_t linear);

    // For intrinsics, on a fiber.
    int barrier(Barrier kind, int predicate, Site where);
    void named_barrier(int id, int threads, Site where);
    void warp_operation(WarpRequest& request);
    uint64_t atomic(AtomicOp op, AtomicType type, void* address, uint64_t value, uint64_t compare, uintptr_t pc);
    void thread_fence(bool whole_device);
    void copy_async(void* shared, const void* global, unsigned bytes, unsigned read_bytes, uintptr_t pc);
    void copy_async_commit();
    void copy_async_wait(int groups_in_flight, uintptr_t pc);
    void* shared_variable(const void* key, const char* name, size_t bytes);
    void* dynamic_shared(size_t alignment, uintptr_t pc);
    /// Checks and counts one access of a checked kernel. aligned: the compiler relies on natural alignment.
    void access(const void* address, size_t bytes, Access kind, uintptr_t pc, bool aligned = true);
    [[noreturn]] void fail(Fault&& fault);
    void suspect(Fault&& fault);
    void fail_if_suspected();

    bool checked() const {
        return checked_;
    }
    const uint3& thread_index() const {
        return indices_[static_cast<size_t>(current_)];
    }
    uint3 block_index() const {
        return block_index_;
    }
    const Launch& launch() const {
        return *launch_;
    }

    /// For the fibers' entry.
    [[noreturn]] void fiber_loop();
    Fiber& running() {
        return *running_;
    }

private:
    struct Variable {
        const void* key;
        const char* name;
        size_t offset, bytes;
    };
    struct Copy {
        void* shared;
        const void* global;
        unsigned bytes, read_bytes;
        int group;
        uintptr_t pc;
    };
    struct Copies {
        std::vector<Copy> pending;
        int committed = 0;
    };
    struct NamedBarrier {
        int expected = 0, waiting = 0;
        Site where;
        uint32_t warps = 0;
    };

    // schedule.cpp
    void reset(int64_t linear);
    int pick();
    void go(int thread);  ///< from the running fiber to that thread; returns when somebody comes back here
    void wait(State state, Site where);
    void wake(int thread);
    void yield();
    void thread_exits();
    Fiber& free_fiber();
    uint32_t random();

    // faults.cpp
    [[noreturn]] void deadlock();
    std::string where_it_is(int thread) const;
    std::string name_of(int thread) const;
    std::string format(const Fault& fault) const;

    // barriers.cpp
    void release_barrier_if_complete();
    void order_warps(uint32_t warps);

    // warps.cpp
    void check_mask(const WarpRequest& request, int lane);
    void execute(Warp& warp, WarpRequest& last);
    void order_lanes(Warp& warp, uint32_t mask);
    void resolve_active_mask(int warp);
    void mma(WarpRequest* const* lanes);
    void ldmatrix(WarpRequest* const* lanes);

    // access.cpp
    void access_shared(size_t offset, size_t bytes, Access kind, uintptr_t pc);
    void access_global(uintptr_t address, size_t bytes, Access kind, uintptr_t pc);
    void access_elsewhere(uintptr_t address, size_t bytes, Access kind, uintptr_t pc);
    void check_race(Cell* cells, uintptr_t base, uintptr_t address, size_t bytes, Access kind, uintptr_t pc,
                    bool shared);
    bool ordered(const Stamp& stamp, bool shared) const;
    std::string shared_name(size_t offset) const;
    void count(uintptr_t address, size_t bytes, RequestKind kind, uintptr_t pc);
    void count_requests(int warp);

    // copies.cpp
    void finish_copies(int thread, int last_group);

    Launch* launch_ = nullptr;
    int64_t linear_ = 0;
    uint3 block_index_{};
    bool checked_ = false, counting_ = false, races_ = false;
    int threads_count_ = 0, warps_count_ = 0, exited_ = 0;
    uint64_t random_ = 1;

    // who runs
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<Fiber*> idle_;
    Fiber main_, *running_ = nullptr;
    int current_ = 0;
    uint32_t runnable_warps_ = 0;
    int current_warp_ = 0;
    std::vector<Thread> threads_;
    std::array<Warp, 32> warps_;
    std::vector<uint3> indices_;  ///< threadIdx of each thread
    dim3 indices_of_{0, 0, 0};    ///< ... in a block of this shape
    bool faulted_ = false;
    Fault fault_;
    /// A read of unwritten memory. It waits for the end of the barrier interval, because often another thread writes there
    /// later in it: then the race, which has two lines to show, is the better error.
    bool suspected_ = false;
    Fault suspicion_;

    // barriers
    int at_barrier_ = 0;
    Barrier barrier_kind_ = Barrier::sync;
    int barrier_true_ = 0, barrier_result_ = 0;
    std::array<NamedBarrier, 16> named_{};

    // shared memory: the dynamic part, then variables as they are met
    unsigned char* shared_ = nullptr;
    unsigned char* shared_state_ = nullptr;
    Cell* shared_cells_ = nullptr;
    size_t shared_used_ = 0, static_bytes_ = 0;
    std::vector<Variable> variables_;
    uint32_t epoch_ = 0;  ///< grows with each block run here: stamps of earlier ones are void
    bool did_atomic_ = false;

    std::vector<Copies> copies_;
    bool copies_used_ = false;
    std::unique_ptr<RequestLog> log_;
    Counters counters_;
};

/// The block that the running OS thread is in, while it is on a fiber; null in host code.
extern thread_local Block* current_block;

}  // namespace wavllm::simt
