#pragma once
// Where the time of a training step goes, by op. Ops run one after the other on one thread, so a clock that is read
// each time an op is done gives every op its time: what passed since the last reading, the glue before it included.
// Nothing is counted twice where ops contain ops, nothing is left out, and the parts add up to the whole. A reading costs
// about 0.1 us, some 1,500 of them a step.

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

namespace wavllm {

class OpClock {
public:
    enum class Pass : uint8_t { forward, backward, other };

    struct Entry {
        std::string_view op;
        double forward = 0, backward = 0, other = 0;  ///< seconds
        int64_t calls = 0;                            ///< forward and other ones

        double seconds() const {
            return forward + backward + other;
        }
    };

    /// Ops on this thread are booked to the clock while it lives; the time before it is nobody's. One at a time.
    class Running {
    public:
        explicit Running(OpClock& clock);
        ~Running();
        Running(const Running&) = delete;
        Running& operator=(const Running&) = delete;
    };

    /// Books the time since the last reading to an op, if a clock runs. `op` must live as long as the clock: a literal.
    static void read(std::string_view op, Pass pass) {
        if (running_) running_->book(op, pass);
    }

    /// In the order in which they were first met.
    const std::vector<Entry>& entries() const {
        return entries_;
    }
    /// Forgets all times; keeps the memory.
    void clear();

private:
    using Clock = std::chrono::steady_clock;
    void book(std::string_view op, Pass pass);

    static thread_local constinit OpClock* running_;
    std::vector<Entry> entries_;
    Clock::time_point last_;
};

}  // namespace wavllm
