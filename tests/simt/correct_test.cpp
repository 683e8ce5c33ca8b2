// The emulator runs correct kernels right, in any order of threads and with and without its checks. Witness: plain loops on
// the host, and for shuffles the table of the PTX ISA worked out by hand.

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <numeric>

#include "tests/simt/kernels.h"
#include "tests/simt/support.h"

using namespace wavllm;
using namespace wavllm::simt_tests;

namespace {

std::vector<float> numbers(size_t n) {
    std::vector<float> v(n);
    for (size_t i = 0; i < n; ++i) v[i] = static_cast<float>((i * 37 + 11) % 101) - 50.0f;
    return v;
}
std::vector<int> whole_numbers(size_t n, int below) {
    std::vector<int> v(n);
    for (size_t i = 0; i < n; ++i) v[i] = static_cast<int>((i * 7919 + 13) % static_cast<size_t>(below));
    return v;
}

}  // namespace

TEST_SUITE_BEGIN("simt");

TEST_CASE("simt: block reduce with shuffles and two shared variables of one template") {
    const int n = 1000;
    const std::vector<float> x = numbers(n);
    in_any_order([&](Build build) {
        OnDevice<float> dx(x, "x");
        simt::DeviceArray<float> sums(4, "sums");
        block_sum(build)(dx.data(), sums.data(), n);
        const std::vector<float> got = values(sums);
        for (size_t b = 0; b < 4; ++b) {
            float sum = 0;  // whole numbers: exact in any order
            for (size_t i = 256 * b; i < std::min<size_t>(n, 256 * b + 256); ++i) sum += x[i];
            CHECK(got[b] == sum);
        }
    });
}

TEST_CASE("simt: transpose through a padded tile, edges included") {
    const int rows = 45, columns = 70;
    const std::vector<float> x = numbers(rows * columns);
    in_any_order([&](Build build) {
        OnDevice<float> dx(x, "x");
        simt::DeviceArray<float> y(x.size(), "y");
        transpose(build)(dx.data(), y.data(), rows, columns);
        const std::vector<float> got = values(y);
        bool same = true;
        for (int r = 0; r < rows; ++r)
            for (int c = 0; c < columns; ++c)
                same = same && got[static_cast<size_t>(c * rows + r)] == x[static_cast<size_t>(r * columns + c)];
        CHECK(same);
    });
}

TEST_CASE("simt: scan by shuffles; warps that return early") {
    const int rows = 10;  // the last block has two warps without a row
    const std::vector<int> x = whole_numbers(rows * 32, 9);
    in_any_order([&](Build build) {
        OnDevice<int> dx(x);
        simt::DeviceArray<int> y(x.size());
        scan(build)(dx.data(), y.data(), rows);
        const std::vector<int> got = values(y);
        bool same = true;
        for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
            int sum = 0;
            for (size_t i = 32 * r; i < 32 * r + 32; ++i) same = same && got[i] == (sum += x[i]);
        }
        CHECK(same);
    });
}

TEST_CASE("simt: threads that return before a barrier are counted and run once") {
    const int n = 250;
    const std::vector<float> x = numbers(n);
    in_any_order([&](Build build) {
        OnDevice<float> dx(x);
        simt::DeviceArray<float> y(n);
        early_return(build)(dx.data(), y.data(), n);
        const std::vector<float> got = values(y);
        bool same = true;
        for (size_t i = 0; i < static_cast<size_t>(n); ++i) same = same && got[i] == x[i] + x[i / 96 * 96];
        CHECK(same);
    });
}

TEST_CASE("simt: shuffles of width 32 and narrower") {
    in_any_order([&](Build build) {
        for (const int width : {32, 16, 8, 4, 2, 1}) {
            simt::DeviceArray<int> y(128);
            shuffles(build)(y.data(), width);
            const std::vector<int> got = values(y);
            bool same = true;
            for (int lane = 0; lane < 32; ++lane) {
                const int first = lane / width * width, in = lane - first;
                const size_t l = static_cast<size_t>(lane);
                same = same && got[l] == 100 + first + 5 % width;
                same = same && got[32 + l] == 100 + (in >= 3 ? lane - 3 : lane);
                same = same && got[64 + l] == 100 + (in + 3 < width ? lane + 3 : lane);
                // Into the segment before a lane may look, not into the one behind.
                same = same && got[96 + l] == 100 + ((lane ^ 1) < first + width ? lane ^ 1 : lane);
            }
            CHECK_MESSAGE(same, width);
        }
    });
}

TEST_CASE("simt: votes, reductions, matches, the active mask and barriers that count") {
    in_any_order([&](Build build) {
        simt::DeviceArray<unsigned> out(11 * 64);
        votes(build)(out.data());
        const std::vector<unsigned> got = values(out);
        unsigned thirds = 0;
        for (unsigned lane = 0; lane < 32; lane += 3) thirds |= 1u << lane;
        bool same = true;
        for (unsigned t = 0; t < 64; ++t) {
            const unsigned lane = t % 32;
            const unsigned want[11] = {thirds,
                                       1,
                                       0,
                                       496,
                                       static_cast<unsigned>(-31),
                                       0x11111111u << lane % 4,
                                       0xffffffffu + 1,
                                       lane < 12 ? 0xfffu : 0u,
                                       40,
                                       1,
                                       0};
            for (unsigned i = 0; i < 11; ++i) same = same && got[i * 64 + t] == want[i];
        }
        CHECK(same);
    });
}

TEST_CASE("simt: histogram with atomics in dynamic shared and global memory") {
    const std::vector<int> x = whole_numbers(3000, 64);
    std::vector<int> want(64, 0);
    for (const int v : x) ++want[static_cast<size_t>(v)];
    in_any_order([&](Build build) {
        OnDevice<int> dx(x), counts(std::vector<int>(64, 0));
        histogram(build)(dx.data(), counts.data(), static_cast<int>(x.size()));
        CHECK(values(counts) == want);
    });
}

TEST_CASE("simt: cp.async through two buffers, with a tail of zeros") {
    const int n = 1000 + 3;
    const std::vector<float> x = numbers(n);
    in_any_order([&](Build build) {
        OnDevice<float> dx(x);
        simt::DeviceArray<float> y(n);
        copy_twice(build)(dx.data(), y.data(), n);
        const std::vector<float> got = values(y);
        bool same = true;
        for (size_t i = 0; i < static_cast<size_t>(n); ++i) same = same && got[i] == 2 * x[i];
        CHECK(same);
    });
}

TEST_CASE("simt: an mma tile, bf16 and f16, loaded by ldmatrix, against a plain product") {
    for (const bool bf16 : {true, false}) {
        std::vector<uint16_t> a(256), b(128);
        std::vector<float> fa(256), fb(128);
        const auto fill = [&](std::vector<uint16_t>& bits, std::vector<float>& v, size_t step) {
            for (size_t i = 0; i < v.size(); ++i) {
                v[i] = (static_cast<float>(i * step % 31) - 15) / 8;  // exact in both types
                bits[i] = bf16 ? static_cast<uint16_t>(std::bit_cast<uint32_t>(v[i]) >> 16)
                               : std::bit_cast<uint16_t>(static_cast<_Float16>(v[i]));
            }
        };
        fill(a, fa, 7);
        fill(b, fb, 13);
        in_any_order([&](Build build) {
            OnDevice<uint16_t> da(a), db(b);
            simt::DeviceArray<float> c(128);
            mma_tile(build)(da.data(), db.data(), c.data(), bf16);
            const std::vector<float> got = values(c);
            double worst = 0;
            for (size_t m = 0; m < 16; ++m)
                for (size_t n = 0; n < 8; ++n) {
                    double sum = 0;
                    for (size_t k = 0; k < 16; ++k) sum += double{fa[m * 16 + k]} * fb[k * 8 + n];
                    const double error = std::fabs(got[m * 8 + n] - sum);
                    worst = error <= worst ? worst : error;
                }
            CHECK(worst == 0);
        });
    }
}

TEST_CASE("simt: named barriers hold two pairs of warps apart") {
    const std::vector<int> x = whole_numbers(128, 1000);
    in_any_order([&](Build build) {
        OnDevice<int> dx(x);
        simt::DeviceArray<int> y(128);
        named_barriers(build)(dx.data(), y.data());
        const std::vector<int> got = values(y);
        bool same = true;
        for (size_t t = 0; t < 128; ++t) same = same && got[t] == x[t / 64 * 64 + 63 - t % 64];
        CHECK(same);
    });
}

TEST_CASE("simt: lanes exchange through shared memory with __syncwarp, no race") {
    const std::vector<int> x = whole_numbers(256, 1000);
    in_any_order([&](Build build) {
        OnDevice<int> dx(x);
        simt::DeviceArray<int> y(256);
        warp_exchange(build)(dx.data(), y.data(), 256);
        const std::vector<int> got = values(y);
        bool same = true;
        for (size_t i = 0; i < 256; ++i) same = same && got[i] == x[i / 32 * 32 + 31 - i % 32];
        CHECK(same);
    });
}

TEST_CASE("simt: a spin lock does not hang, and its holder is alone") {
    in_any_order([&](Build build) {
        OnDevice<int> lock({0}), count({0});
        spin_lock(build)(lock.data(), count.data(), 200);
        CHECK(values(count)[0] == 200);
        CHECK(values(lock)[0] == 0);
    });
}

TEST_CASE("simt: the last block adds up what the others left, in one order") {
    const int n = 5000;
    std::vector<float> x(n);
    for (size_t i = 0; i < x.size(); ++i) x[i] = 1.0f / static_cast<float>(i + 1);
    std::vector<float> first;
    in_any_order([&](Build build) {
        OnDevice<float> dx(x);
        simt::DeviceArray<float> partial(20), out(1);
        OnDevice<unsigned> ticket({0u});
        last_block_sum(build)(dx.data(), partial.data(), ticket.data(), out.data(), n);
        if (first.empty()) first = values(out);
        CHECK(values(out) == first);
        CHECK(std::fabs(first[0] - 9.0945) < 1e-4);  // the 5000th harmonic number
    });
}

TEST_CASE("simt: neighbouring threads write neighbouring 16-bit elements without a race") {
    std::vector<uint16_t> x(200);
    for (size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(i % 64)) >> 16);
    in_any_order([&](Build build) {
        OnDevice<uint16_t> dx(x);
        simt::DeviceArray<uint16_t> y(x.size());
        bf16_plus_one(build)(dx.data(), y.data(), static_cast<int>(x.size()));
        const std::vector<uint16_t> got = values(y);
        bool same = true;
        for (size_t i = 0; i < x.size(); ++i)
            same = same && std::bit_cast<float>(static_cast<uint32_t>(got[i]) << 16) == static_cast<float>(i % 64 + 1);
        CHECK(same);
    });
}

TEST_SUITE_END();
