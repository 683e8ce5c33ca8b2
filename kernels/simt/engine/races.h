#pragma once
// Who last touched a word, to find two threads that touch it without an order between them.
//
// Order comes from barriers. Every warp has a clock that ticks at each barrier it takes part in, and every lane one that
// ticks at each __syncwarp; a stamp carries both. Whether a stamp is ordered before now is the Block's to say (it knows
// which clocks of others its current thread has seen). Stamps of other blocks of the launch are never ordered.

#include <cstdint>

namespace wavllm::simt {

struct Stamp {
    uint32_t pc = 0;
    uint32_t block = 0;
    uint32_t warp_clock = 0;  ///< 0: an empty place
    uint16_t lane_clock = 0;
    uint16_t who = 0;  ///< thread (10 bits), bytes of the word (4 bits), atomic (1 bit)

    int thread() const {
        return who & 0x3ff;
    }
    unsigned bytes() const {
        return (who >> 10) & 15u;
    }
    bool atomic() const {
        return (who >> 14) != 0;
    }
    bool same_thread(const Stamp& o) const {
        return thread() == o.thread() && block == o.block;
    }
    static uint16_t pack(int thread, unsigned bytes, bool atomic) {
        return static_cast<uint16_t>(static_cast<unsigned>(thread) | bytes << 10 | (atomic ? 1u << 14 : 0u));
    }
};

/// Of 4 bytes of memory. Two writers, because two threads may write the halves of a word; two readers, so that a write by
/// one of them still meets the other. More are forgotten: a race can be missed, none is invented.
struct Cell {
    uint32_t epoch = 0;  ///< launch (global) or block (shared) that the stamps are of
    uint32_t lock = 0;
    Stamp writers[2], readers[2];
};

class CellLock {
public:
    CellLock(Cell& cell, bool needed) : cell_(needed ? &cell : nullptr) {
        if (cell_ != nullptr)
            while (__atomic_exchange_n(&cell_->lock, 1u, __ATOMIC_ACQUIRE) != 0) __builtin_ia32_pause();
    }
    ~CellLock() {
        if (cell_ != nullptr) __atomic_store_n(&cell_->lock, 0u, __ATOMIC_RELEASE);
    }
    CellLock(const CellLock&) = delete;
    CellLock& operator=(const CellLock&) = delete;

private:
    Cell* cell_;
};

/// Enters `now` into the cell. Returns false and the other access in `other` if the two race.
template <class Ordered>
bool enter(Cell& cell, uint32_t epoch, const Stamp& now, bool write, Ordered&& ordered, Stamp& other,
           bool& other_wrote) {
    if (cell.epoch != epoch) {
        cell.epoch = epoch;
        cell.writers[0] = cell.writers[1] = cell.readers[0] = cell.readers[1] = Stamp{};
    }
    const auto races = [&](const Stamp& s, bool wrote) {
        if (s.warp_clock == 0 || (s.bytes() & now.bytes()) == 0 || s.same_thread(now)) return false;
        if ((s.atomic() && now.atomic()) || ordered(s)) return false;
        other = s;
        other_wrote = wrote;
        return true;
    };
    if (races(cell.writers[0], true) || races(cell.writers[1], true)) return false;
    // What the same thread did to other bytes of the word a moment ago, by the same clocks, joins the new stamp.
    const auto join = [&](const Stamp& s) {
        Stamp joined = now;
        if (s.warp_clock == now.warp_clock && s.lane_clock == now.lane_clock && s.same_thread(now))
            joined.who = Stamp::pack(now.thread(), now.bytes() | s.bytes(), now.atomic() && s.atomic());
        return joined;
    };
    const auto covered = [&](const Stamp& s) { return (s.bytes() & ~now.bytes()) == 0; };
    if (!write) {
        Stamp* r = cell.readers;
        if (r[0].warp_clock != 0 && !r[0].same_thread(now)) {
            const Stamp last = r[0];
            r[0] = r[1].same_thread(now) ? r[1] : Stamp{};
            r[1] = last;
        }
        r[0] = join(r[0]);
        return true;
    }
    if (races(cell.readers[0], false) || races(cell.readers[1], false)) return false;
    Stamp* w = cell.writers;
    if (w[0].warp_clock != 0 && !covered(w[0]) && !w[0].same_thread(now))
        w[1] = w[0];
    else if (covered(w[1]))
        w[1] = Stamp{};
    w[0] = join(w[0]);
    for (Stamp& r : cell.readers)
        if (covered(r)) r = Stamp{};
    return true;
}

}  // namespace wavllm::simt
