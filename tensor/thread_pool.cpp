#include "tensor/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace wavllm {

namespace {

thread_local bool t_inside = false;

class Pool {
public:
    ~Pool() {
        stop();
    }

    int threads() const {
        return threads_;
    }

    void resize(int threads) {
        stop();
        threads_ = std::max(1, threads);
        stopping_ = false;
        for (int i = 1; i < threads_; ++i) workers_.emplace_back([this, seen = generation_.load()] { work(seen); });
    }

    void run(int64_t n, int64_t chunk, detail::RangeFunction function, void* context) {
        std::lock_guard one_at_a_time(run_mutex_);
        {
            std::lock_guard lock(mutex_);
            n_ = n;
            chunk_ = chunk;
            function_ = function;
            context_ = context;
            next_.store(0, std::memory_order_relaxed);
            error_ = nullptr;
            busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
            generation_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        take_chunks();
        // The rest is short: wait without sleeping first, then properly.
        for (int spin = 0; spin < kSpins && busy_.load(std::memory_order_acquire) > 0; ++spin) __builtin_ia32_pause();
        if (busy_.load(std::memory_order_acquire) > 0) {
            std::unique_lock lock(mutex_);
            done_.wait(lock, [&] { return busy_.load(std::memory_order_acquire) == 0; });
        }
        if (error_) std::rethrow_exception(error_);
    }

private:
    static constexpr int kSpins = 4000;  // some tens of microseconds; then threads sleep and cost nothing

    void take_chunks() {
        t_inside = true;
        for (;;) {
            const int64_t begin = next_.fetch_add(chunk_, std::memory_order_relaxed);
            if (begin >= n_) break;
            try {
                function_(context_, begin, std::min(n_, begin + chunk_));
            } catch (...) {
                std::lock_guard lock(mutex_);
                if (!error_) error_ = std::current_exception();
            }
        }
        t_inside = false;
    }

    void work(uint64_t seen) {
        for (;;) {
            for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spin)
                __builtin_ia32_pause();
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [&] { return stopping_ || generation_.load(std::memory_order_relaxed) != seen; });
                if (stopping_) return;
                seen = generation_.load(std::memory_order_relaxed);
            }
            take_chunks();
            if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
                std::lock_guard lock(mutex_);
                done_.notify_one();
            }
        }
    }

    void stop() {
        {
            std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        for (std::thread& t : workers_) t.join();
        workers_.clear();
    }

    int threads_ = 1;
    std::vector<std::thread> workers_;
    std::mutex run_mutex_, mutex_;
    std::condition_variable wake_, done_;
    bool stopping_ = false;
    std::atomic<uint64_t> generation_{0};
    std::atomic<int> busy_{0};
    std::atomic<int64_t> next_{0};
    int64_t n_ = 0, chunk_ = 1;
    detail::RangeFunction function_ = nullptr;
    void* context_ = nullptr;
    std::exception_ptr error_;
};

int usable_cores() {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

Pool& pool() {
    static Pool p;
    static const bool started = (p.resize(usable_cores()), true);
    (void)started;
    return p;
}

}  // namespace

void set_num_threads(int threads) {
    pool().resize(threads);
}

int num_threads() {
    return pool().threads();
}

namespace detail {

void parallel_for(int64_t n, int64_t chunk, RangeFunction function, void* context) {
    chunk = std::max<int64_t>(1, chunk);
    if (n <= 0) return;
    if (n <= chunk || t_inside || num_threads() == 1) {
        for (int64_t begin = 0; begin < n; begin += chunk) function(context, begin, std::min(n, begin + chunk));
        return;
    }
    pool().run(n, chunk, function, context);
}

}  // namespace detail

}  // namespace wavllm
