// The ring of pinned memory that copies to the GPU go through, with fences that pass when the test says so.

#include "kernels/cuda/staging_ring.h"

#include <doctest/doctest.h>

#include <random>
#include <vector>

using namespace wavllm;

namespace {

class FakeFences final : public cuda::Fences {
public:
    void* record() override {
        passed_.push_back(false);
        return reinterpret_cast<void*>(passed_.size());  // NOLINT(performance-no-int-to-ptr)
    }
    bool passed(void* fence) override {
        return passed_[index(fence)];
    }
    void wait(void* fence) override {
        ++waits;
        for (size_t i = 0; i <= index(fence); ++i) passed_[i] = true;  // a stream ends its work in order
    }
    void release(void* fence) noexcept override {
        CHECK(passed_[index(fence)]);
        ++released;
    }
    void pass_all() {
        for (size_t i = 0; i < passed_.size(); ++i) passed_[i] = true;
    }
    int waits = 0, released = 0;

private:
    static size_t index(void* fence) {
        return reinterpret_cast<size_t>(fence) - 1;
    }
    std::vector<bool> passed_;
};

}  // namespace

TEST_CASE("staging ring: nothing waits before the ring is full, and then for the oldest alone") {
    std::vector<char> memory(4096);
    FakeFences fences;
    cuda::StagingRing ring(memory.data(), memory.size(), fences);
    for (int i = 0; i < 4; ++i) {
        CHECK(ring.take(1024) == memory.data() + i * 1024);
        ring.given_away();
    }
    CHECK(fences.waits == 0);
    CHECK(ring.take(100) == memory.data());
    CHECK(fences.waits == 1);
    CHECK(fences.released == 1);
    ring.given_away();
    fences.pass_all();
    CHECK(ring.take(2048) == memory.data() + 256);
    CHECK(fences.waits == 1);
    CHECK(fences.released == 5);
    ring.given_away();
}

TEST_CASE("staging ring: a piece never reaches over the end, nor into one that is under way") {
    std::vector<char> memory(10000);  // no multiple of anything
    FakeFences fences;
    cuda::StagingRing ring(memory.data(), memory.size(), fences);
    std::mt19937 random(3);
    struct Piece {
        char* begin;
        size_t size;
        int number;
    };
    std::vector<Piece> under_way;
    for (int i = 0; i < 5000; ++i) {
        const size_t size = 1 + random() % 5000;
        char* p = ring.take(size);
        // What was released may be written again, and only that.
        while (!under_way.empty() && under_way.front().number < fences.released) under_way.erase(under_way.begin());
        REQUIRE(p >= memory.data());
        REQUIRE(p + size <= memory.data() + memory.size());
        for (const Piece& other : under_way) REQUIRE((p + size <= other.begin || other.begin + other.size <= p));
        ring.given_away();
        under_way.push_back({p, size, i});
        if (random() % 50 == 0) fences.pass_all();
    }
    CHECK(fences.waits > 100);
}

TEST_CASE("staging ring: many tiny copies do not need a fence each for ever") {
    std::vector<char> memory(1 << 20);
    FakeFences fences;
    cuda::StagingRing ring(memory.data(), memory.size(), fences);
    for (int i = 0; i < 1000; ++i) {
        ring.take(8);
        ring.given_away();
    }
    CHECK(fences.waits == 1000 - 256);
}
