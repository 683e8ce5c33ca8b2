// Every load and store of a checked kernel: is the address one that it may use, was it written, does another thread use it
// at the same time, and how many sectors or wavefronts will it take.

#include <fmt/format.h>

#include "kernels/simt/engine/block.h"
#include "kernels/simt/engine/shadow.h"
#include "kernels/simt/engine/shared_memory.h"

extern "C" {
extern char __executable_start, _end;  // the linker's: code and variables of the program
}

namespace wavllm::simt {

namespace {

const char* verb(Access kind) {
    return kind == Access::read ? "reads" : kind == Access::write ? "writes" : "updates";
}

}  // namespace

void Block::access(const void* pointer, size_t bytes, Access kind, uintptr_t pc, bool aligned) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
    const uintptr_t offset = address - reinterpret_cast<uintptr_t>(shared_);
    const bool shared = offset < shared_capacity;
    if (!shared && address - device_range.begin >= device_range.bytes)
        return access_elsewhere(address, bytes, kind, pc);
    if (aligned && (address & (bytes - 1)) != 0) {
        Fault f{current_,
                fmt::format("{} {} bytes at an address that is not a multiple of {}", verb(kind), bytes, bytes),
                {{}, pc}};
        f.hint = "; a vector type needs an aligned pointer";
        fail(std::move(f));
    }
    if (shared)
        access_shared(offset, bytes, kind, pc);
    else
        access_global(address, bytes, kind, pc);
}

void Block::access_shared(size_t offset, size_t bytes, Access kind, uintptr_t pc) {
    unsigned char* s = shared_state_ + offset;
    const bool fits = offset + bytes <= shared_capacity;
    const bool good =
        fits && (all_states(s, bytes, written) || (kind == Access::write && all_states(s, bytes, unwritten)));
    if (!good) {
        size_t i = 0;  // the first byte that is wrong
        const auto fine = [&](unsigned char state) {
            return state == written || (kind == Access::write && state == unwritten);
        };
        while (fits && i < bytes && fine(s[i])) ++i;
        if (!fits || i < bytes) {
            Fault f{current_, "", {{}, pc}};
            if (fits && s[i] == unwritten) {
                f.what =
                    fmt::format("{} shared memory that no thread has written, {}", verb(kind), shared_name(offset + i));
                f.hint = "; it holds whatever the block before left there";
            } else if (fits && s[i] == copying) {
                f.what = fmt::format("{} shared memory while a cp.async is copying to it, {}", verb(kind),
                                     shared_name(offset + i));
                f.hint = "; wait for the copy's group first";
            } else {
                f.what = fmt::format("{} {} bytes of shared memory out of bounds, {}", verb(kind), bytes,
                                     shared_name(offset + i));
            }
            if (!fits || s[i] != unwritten) fail(std::move(f));
            suspect(std::move(f));
        }
    }
    if (kind != Access::read) __builtin_memset(s, written, bytes);
    if (races_) check_race(shared_cells_, 0, offset, bytes, kind, pc, true);
    if (counting_ && kind != Access::atomic)
        count(offset, bytes, kind == Access::read ? RequestKind::shared_load : RequestKind::shared_store, pc);
}

void Block::access_global(uintptr_t address, size_t bytes, Access kind, uintptr_t pc) {
    const size_t offset = address - device_range.begin;
    unsigned char* s = device_range.states + offset;
    const bool good = all_states(s, bytes, written) || (kind == Access::write && all_states(s, bytes, unwritten));
    if (!good)
        for (size_t i = 0; i < bytes; ++i) {
            if (s[i] == written || (s[i] == unwritten && (kind == Access::write || maybe_written_unseen(address + i))))
                continue;
            const char* wrong = s[i] == unwritten ? "that nobody has written"
                                : s[i] == freed   ? "after it was freed"
                                                  : "out of bounds";
            Fault f{current_,
                    fmt::format("{} {} bytes of global memory {}, {}", verb(kind), bytes, wrong,
                                describe_device_address(address + i)),
                    {{}, pc}};
            if (s[i] != unwritten) fail(std::move(f));
            suspect(std::move(f));
            break;
        }
    if (kind != Access::read) __builtin_memset(s, written, bytes);
    if (races_) check_race(device_range.cells, device_range.begin, address, bytes, kind, pc, false);
    if (counting_ && kind != Access::atomic)
        count(address, bytes, kind == Access::read ? RequestKind::global_load : RequestKind::global_store, pc);
}

/// Neither shared nor device memory: a thread's own stack, the launch's arguments and the program's constants are fine.
void Block::access_elsewhere(uintptr_t address, size_t bytes, Access kind, uintptr_t pc) {
    const uintptr_t stack = reinterpret_cast<uintptr_t>(running_->stack);
    if (address - stack < running_->stack_bytes) {
        constexpr uintptr_t reserve = 8 * 1024;  // for the engine's frames above the kernel's
        if (reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) - stack < reserve) {
            Fault f{current_, fmt::format("has used up its stack of {} bytes", running_->stack_bytes), {{}, pc}};
            f.hint = "; large arrays belong into shared memory";
            fail(std::move(f));
        }
        return;
    }
    if (address - reinterpret_cast<uintptr_t>(launch_->call.arguments) < launch_->call.bytes) return;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(&__executable_start), end = reinterpret_cast<uintptr_t>(&_end);
    if (address - begin < end - begin) return;
    Fault f{
        current_, fmt::format("{} {} bytes at {:#x}, which is no device memory", verb(kind), bytes, address), {{}, pc}};
    f.hint = address < 4096 ? "; a null pointer" : "; a pointer to host memory, or a wild one";
    for (const auto& other : fibers_)
        if (other->holds(address)) f.hint = "; it is a local variable of another thread";
    fail(std::move(f));
}

bool Block::ordered(const Stamp& stamp, bool shared) const {
    if (!shared && stamp.block != static_cast<uint32_t>(linear_)) {
        // Blocks of a launch have no order, except through atomics and __threadfence. That the pair was used rightly is
        // beyond this detector; a block that used neither has no excuse.
        return did_atomic_ && launch_->fenced.load(std::memory_order_relaxed);
    }
    const int theirs = stamp.thread() / 32;
    const Warp& warp = warps_[static_cast<size_t>(current_ / 32)];
    if (theirs != current_ / 32) return stamp.warp_clock < warp.seen[static_cast<size_t>(theirs)];
    if (stamp.warp_clock < warp.clock) return true;
    if (stamp.lane_clock == UINT16_MAX) return true;  // the clock stands still: rather miss a race than invent one
    return warp.lanes_ordered &&
           stamp.lane_clock <
               warp.lane_seen[static_cast<size_t>(current_ % 32)][static_cast<size_t>(stamp.thread() % 32)];
}

void Block::check_race(Cell* cells, uintptr_t base, uintptr_t address, size_t bytes, Access kind, uintptr_t pc,
                       bool shared) {
    const Warp& warp = warps_[static_cast<size_t>(current_ / 32)];
    Stamp now;
    now.pc = short_pc(pc);
    now.block = static_cast<uint32_t>(linear_);
    now.warp_clock = warp.clock;
    now.lane_clock = warp.lanes_ordered ? warp.lane_clock[static_cast<size_t>(current_ % 32)] : uint16_t{0};
    const uintptr_t begin = address - base, end = begin + bytes;
    for (uintptr_t word = begin / 4; word * 4 < end; ++word) {
        unsigned mask = 15;
        if (word * 4 < begin) mask &= 15u << (begin - word * 4);
        if (word * 4 + 4 > end) mask &= 15u >> (word * 4 + 4 - end);
        now.who = Stamp::pack(current_, mask, kind == Access::atomic);
        Stamp other;
        bool other_wrote = false, fine;
        {
            CellLock lock(cells[word], !shared && launch_->concurrent);
            fine = enter(
                cells[word], shared ? epoch_ : launch_->serial, now, kind != Access::read,
                [&](const Stamp& s) { return ordered(s, shared); }, other, other_wrote);
        }
        if (fine) continue;
        const bool same_block = shared || other.block == static_cast<uint32_t>(linear_);
        Fault f{current_,
                fmt::format("{} {} memory, {}", verb(kind), shared ? "shared" : "global",
                            shared ? shared_name(word * 4) : describe_device_address(base + word * 4)),
                {{}, pc}};
        const char* did = other.atomic() ? "updates" : other_wrote ? "writes" : "reads";
        f.and_ = fmt::format(", in a race with {}{}, which {} it", name_of(other.thread()),
                             same_block ? std::string() : fmt::format(" of block number {}", other.block), did);
        f.other = {{}, long_pc(other.pc)};
        f.race = true;
        f.hint = same_block ? "; a barrier must stand between the two" : "; blocks of one launch have no order";
        fail(std::move(f));
    }
}

void Block::count(uintptr_t address, size_t bytes, RequestKind kind, uintptr_t pc) {
    log_->add(current_ / 32, current_ % 32, {address, short_pc(pc), static_cast<uint16_t>(bytes), kind});
}

void Block::count_requests(int warp) {
    Warp& w = warps_[static_cast<size_t>(warp)];
    log_->flush(warp, w.counted, counters_);
    w.counted = w.live;
}

}  // namespace wavllm::simt
