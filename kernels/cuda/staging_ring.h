#pragma once
// Which part of a ring of pinned memory the next copy to the GPU may use. The GPU reads a piece some time after the host
// has filled it; a fence in its stream says when it is done. Copies end in the order in which they began.
//
// This file knows nothing of CUDA: tests/cuda/staging_ring_test.cpp plays the fences.

#include <algorithm>
#include <cstddef>
#include <deque>

namespace wavllm::cuda {

class Fences {
public:
    virtual ~Fences() = default;
    /// A mark behind the work that was given to the stream so far.
    virtual void* record() = 0;
    virtual bool passed(void* fence) = 0;
    /// Waits until it is passed.
    virtual void wait(void* fence) = 0;
    /// It is not needed any more.
    virtual void release(void* fence) noexcept = 0;
};

class StagingRing {
public:
    /// memory: `bytes` bytes that outlive the ring.
    StagingRing(char* memory, size_t bytes, Fences& fences) : memory_(memory), bytes_(bytes), fences_(fences) {}

    /// `size` bytes in one piece, at most half of the ring. Waits for the oldest copies as long as they are in the way.
    char* take(size_t size) {
        while (!pending_.empty() && fences_.passed(pending_.front().fence)) drop_oldest();
        if (next_ + size > bytes_) next_ = 0;
        while (in_the_way(next_, next_ + size) || pending_.size() == kMostPending) {
            fences_.wait(pending_.front().fence);
            drop_oldest();
        }
        begin_ = next_;
        next_ += (size + 255) / 256 * 256;
        return memory_ + begin_;
    }
    /// What reads the piece that take() gave last has been put into the stream.
    void given_away() {
        pending_.push_back({begin_, std::min(next_, bytes_), fences_.record()});
    }
    size_t bytes() const {
        return bytes_;
    }

private:
    static constexpr size_t kMostPending = 256;
    struct Piece {
        size_t begin, end;
        void* fence;
    };
    bool in_the_way(size_t begin, size_t end) const {
        return std::any_of(pending_.begin(), pending_.end(),
                           [&](const Piece& p) { return p.begin < end && begin < p.end; });
    }
    void drop_oldest() {
        fences_.release(pending_.front().fence);
        pending_.pop_front();
    }

    char* memory_;
    size_t bytes_;
    Fences& fences_;
    size_t next_ = 0, begin_ = 0;
    std::deque<Piece> pending_;
};

}  // namespace wavllm::cuda
