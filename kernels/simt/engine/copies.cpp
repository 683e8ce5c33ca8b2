// cp.async. A copy is made as late as it may be, when its group is waited for: a kernel that reads too early is caught, and
// what it would see on a GPU by luck it never sees here.

#include <fmt/format.h>

#include <cstring>

#include "kernels/simt/engine/block.h"
#include "kernels/simt/engine/shadow.h"
#include "kernels/simt/engine/shared_memory.h"

namespace wavllm::simt {

void Block::copy_async(void* shared, const void* global, unsigned bytes, unsigned read_bytes, uintptr_t pc) {
    const uintptr_t offset = reinterpret_cast<uintptr_t>(shared) - reinterpret_cast<uintptr_t>(shared_);
    if (offset >= shared_capacity) {
        Fault f{current_, "gives cp_async a destination that is not shared memory", {{}, pc}};
        fail(std::move(f));
    }
    if (((offset | reinterpret_cast<uintptr_t>(global)) & (bytes - 1)) != 0 || read_bytes > bytes) {
        Fault f{current_, fmt::format("copies {} bytes with cp_async (reads {})", bytes, read_bytes), {{}, pc}};
        f.hint = "; both addresses must be a multiple of the size, and no more may be read than written";
        fail(std::move(f));
    }
    if (checked_) {
        if (read_bytes > 0)
            access(global, read_bytes, Access::read, pc, false);
        else if (counting_)
            count(0, 0, RequestKind::global_load, pc);
        access(shared, bytes, Access::write, pc);  // from now on nobody else may touch it
        std::memset(shared_state_ + offset, copying, bytes);
    }
    copies_used_ = true;
    Copies& mine = copies_[static_cast<size_t>(current_)];
    mine.pending.push_back({shared, global, bytes, read_bytes, mine.committed, pc});
}

void Block::copy_async_commit() {
    ++copies_[static_cast<size_t>(current_)].committed;
    copies_used_ = true;
}

void Block::copy_async_wait(int groups_in_flight, uintptr_t) {
    if (copies_used_) finish_copies(current_, copies_[static_cast<size_t>(current_)].committed - 1 - groups_in_flight);
}

/// Makes the copies of groups up to `last_group`.
void Block::finish_copies(int thread, int last_group) {
    std::vector<Copy>& pending = copies_[static_cast<size_t>(thread)].pending;
    size_t kept = 0;
    for (size_t i = 0; i < pending.size(); ++i) {
        const Copy c = pending[i];
        if (c.group > last_group) {
            pending[kept++] = c;
            continue;
        }
        std::memcpy(c.shared, c.global, c.read_bytes);
        std::memset(static_cast<char*>(c.shared) + c.read_bytes, 0, c.bytes - c.read_bytes);
        if (!checked_) continue;
        const uintptr_t offset = reinterpret_cast<uintptr_t>(c.shared) - reinterpret_cast<uintptr_t>(shared_);
        std::memset(shared_state_ + offset, written, c.bytes);
        // The copy becomes visible to this thread now; others need a barrier after it.
        if (races_) check_race(shared_cells_, 0, offset, c.bytes, Access::write, c.pc, true);
    }
    pending.resize(kept);
}

}  // namespace wavllm::simt
