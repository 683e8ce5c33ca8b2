// The caching allocator of Device::cuda, with a driver that hands out addresses and counts. Witnesses: accounts worked out
// by hand, and a random run in which no two blocks may overlap.

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <random>

#include "kernels/cuda/caching_allocator.h"
#include "tensor/error.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;

namespace {

constexpr size_t kMiB = size_t{1} << 20;

/// Addresses that nobody follows.
class FakeDriver final : public cuda::RawMemory {
public:
    explicit FakeDriver(size_t total) : total_(total) {}
    void* allocate(size_t bytes) override {
        if (taken_ + bytes > total_) return nullptr;
        taken_ += bytes;
        const uintptr_t address = next_;
        next_ += (bytes + 2 * kMiB) / kMiB * kMiB;  // never beside one another
        live_[address] = bytes;
        return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr)
    }
    void free(void* pointer) noexcept override {
        const auto found = live_.find(reinterpret_cast<uintptr_t>(pointer));
        CHECK(found != live_.end());
        if (found == live_.end()) return;
        taken_ -= found->second;
        live_.erase(found);
    }
    State state() override {
        return {total_ - taken_, total_};
    }
    size_t taken() const {
        return taken_;
    }
    size_t segments() const {
        return live_.size();
    }

private:
    size_t total_, taken_ = 0;
    uintptr_t next_ = uintptr_t{1} << 40;
    std::map<uintptr_t, size_t> live_;
};

char* at(void* pointer) {
    return static_cast<char*>(pointer);
}

}  // namespace

TEST_CASE("cuda allocator: a step that repeats asks the driver for nothing") {
    FakeDriver driver(1024 * kMiB);
    cuda::CachingAllocator memory(driver);
    uint64_t requests = 0;
    for (int step = 0; step < 5; ++step) {
        void* a = memory.allocate(100);
        void* b = memory.allocate(50 * kMiB);
        void* c = memory.allocate(3 * kMiB);
        memory.free(a);
        void* d = memory.allocate(700);
        memory.free(c);
        memory.free(b);
        memory.free(d);
        if (step > 0) CHECK(memory.account().requests == requests);
        requests = memory.account().requests;
    }
    CHECK(requests == 3);  // 2 MiB for small ones, 50 and 32 MiB
    CHECK(memory.account().used == 0);
    CHECK(memory.account().reserved == 84 * kMiB);
    CHECK(memory.account().peak == 50 * kMiB + 3 * kMiB + 1024);
    CHECK(driver.taken() == 84 * kMiB);
}

TEST_CASE("cuda allocator: blocks are aligned, split, and become one again") {
    FakeDriver driver(1024 * kMiB);
    cuda::CachingAllocator memory(driver);
    void* a = memory.allocate(4 * kMiB);
    void* b = memory.allocate(4 * kMiB + 1);
    void* c = memory.allocate(4 * kMiB);
    CHECK(driver.segments() == 1);
    CHECK(at(b) == at(a) + 4 * kMiB);
    CHECK(at(c) == at(b) + 4 * kMiB + 512);
    CHECK(reinterpret_cast<uintptr_t>(c) % 512 == 0);
    CHECK(memory.account().used == 12 * kMiB + 512);
    memory.free(a);
    memory.free(c);
    memory.free(b);  // between two free ones
    CHECK(memory.allocate(32 * kMiB) == a);
    CHECK(driver.segments() == 1);
    memory.free(a);

    // A rest too small for a large request stays with its block.
    void* most = memory.allocate(32 * kMiB - 512);
    CHECK(memory.account().used == 32 * kMiB);
    memory.free(most);
    void* nothing = memory.allocate(0);
    CHECK(nothing != nullptr);
    CHECK(memory.account().used == 512);
    memory.free(nothing);
    memory.free(nullptr);
}

TEST_CASE("cuda allocator: the smallest block that fits is taken, and small ones live apart") {
    FakeDriver driver(1024 * kMiB);
    cuda::CachingAllocator memory(driver);
    void* a = memory.allocate(20 * kMiB);
    void* b = memory.allocate(64 * kMiB);
    void* small = memory.allocate(512);
    CHECK(driver.segments() == 3);
    memory.free(b);
    memory.free(a);  // free now: 32 (20 and its rest together) and 64 MiB
    CHECK(memory.allocate(5 * kMiB) == a);
    CHECK(memory.allocate(60 * kMiB) == b);
    CHECK(at(memory.allocate(512)) == at(small) + 512);
    CHECK(driver.segments() == 3);
}

TEST_CASE("cuda allocator: what is unused goes back when the driver has no more, and then it says what there is") {
    FakeDriver driver(100 * kMiB);
    cuda::CachingAllocator memory(driver);
    void* a = memory.allocate(60 * kMiB);
    void* b = memory.allocate(32 * kMiB);
    memory.free(a);
    void* c = memory.allocate(66 * kMiB);  // 8 of 100 are free: a's segment has to go
    CHECK(driver.taken() == 98 * kMiB);
    CHECK(memory.account().reserved == 98 * kMiB);
    const std::string message = tests::message_of<Error>([&] { memory.allocate(10 * kMiB); });
    CHECK(
        message ==
        "out of memory on cuda: 10.5 MB asked, 102.8 MB used by tensors, 0.0 MB cached (the largest piece 0.0 MB), 2.1 "
        "MB of "
        "104.9 MB free on the GPU; use smaller batches or activation checkpointing, or end other programs on the GPU");
    CHECK_THROWS_AS(memory.allocate(SIZE_MAX), Error);
    memory.free(b);
    CHECK(memory.allocate(10 * kMiB) == b);  // and goes on
    memory.free(b);
    memory.free(c);
    CHECK(memory.give_back() == 98 * kMiB);
    CHECK(driver.taken() == 0);
    CHECK(memory.account().reserved == 0);
}

TEST_CASE("cuda allocator: where a whole segment is too much, what was asked for is taken") {
    FakeDriver driver(10 * kMiB);
    cuda::CachingAllocator memory(driver);
    CHECK(memory.allocate(9 * kMiB) != nullptr);
    CHECK(driver.taken() == 9 * kMiB);
    CHECK(memory.allocate(1024) != nullptr);  // 2 MiB are too much for it, too
    CHECK(driver.taken() == 9 * kMiB + 1024);
}

TEST_CASE("cuda allocator: a captured graph keeps its blocks until it ends") {
    FakeDriver driver(1024 * kMiB);
    cuda::CachingAllocator memory(driver);
    void* weights = memory.allocate(8 * kMiB);
    memory.free(memory.allocate(24 * kMiB));  // the step before: it is cached now
    const uint32_t hold = memory.begin_hold();
    CHECK_THROWS_AS(memory.begin_hold(), Error);
    void* a = memory.allocate(4 * kMiB);
    void* b = memory.allocate(4 * kMiB);
    memory.free(a);
    CHECK(memory.allocate(4 * kMiB) == a);  // the graph's work stays in order, so it may write there twice
    memory.free(a);
    void* c = memory.allocate(8 * kMiB);  // a piece of what is free
    memory.free(c);
    c = memory.allocate(4 * kMiB);
    CHECK(c == a);
    void* d = memory.allocate(12 * kMiB);  // needs the pieces to have been joined again
    memory.free(d);
    CHECK_THROWS_WITH_AS(
        memory.allocate(100 * kMiB),
        "104.9 MB on cuda are not cached, and the driver may not be asked while a graph is captured; run the "
        "step once before it is captured",
        Error);
    memory.end_hold();
    CHECK(memory.account().held == 16 * kMiB);  // where d was, and what it was cut from
    memory.free(b);                             // also what is freed later
    CHECK(memory.account().held == 20 * kMiB);
    CHECK(memory.account().used == 32 * kMiB);
    void* other = memory.allocate(4 * kMiB);
    CHECK(driver.taken() == 64 * kMiB);  // nothing of the graph's is handed out
    memory.release_hold(hold);
    CHECK(memory.account().held == 0);
    memory.free(c);  // it outlived the graph: an ordinary block
    memory.free(other);
    memory.free(weights);
    CHECK(memory.account().used == 0);
    CHECK(memory.allocate(32 * kMiB) == weights);
}

TEST_CASE("cuda allocator: blocks never overlap, in any order of requests") {
    std::mt19937 random(5);
    FakeDriver driver(512 * kMiB);
    cuda::CachingAllocator memory(driver);
    std::map<char*, size_t> live;
    size_t used = 0, refused = 0;
    for (int i = 0; i < 20000; ++i) {
        if (live.empty() || random() % 2 == 0) {
            const size_t bytes = 1 + (random() % 4 == 0 ? random() % (20 * kMiB) : random() % 30000);
            char* p = nullptr;
            try {
                p = at(memory.allocate(bytes));
            } catch (const Error&) {
                ++refused;
                continue;
            }
            const auto next = live.lower_bound(p);
            if (next != live.end()) REQUIRE(p + bytes <= next->first);
            if (next != live.begin()) REQUIRE(std::prev(next)->first + std::prev(next)->second <= p);
            live[p] = bytes;
            used += bytes;
        } else {
            auto it = std::next(live.begin(), static_cast<int64_t>(random() % live.size()));
            memory.free(it->first);
            used -= it->second;
            live.erase(it);
        }
        REQUIRE(memory.account().used >= used);
        REQUIRE(memory.account().reserved == driver.taken());
    }
    CHECK(refused > 0);  // 512 MiB were used up at times
    for (const auto& [p, bytes] : live) memory.free(p);
    CHECK(memory.account().used == 0);
    memory.give_back();
    CHECK(driver.segments() == 0);
}
