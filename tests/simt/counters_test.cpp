// The counters. Witness: each case worked out by hand from what a warp's 32 addresses touch (sectors of 32 bytes, 32 banks
// of 4 bytes).

#include "kernels/simt/counters.h"

#include <doctest/doctest.h>

#include "tests/simt/kernels.h"
#include "tests/simt/support.h"

using namespace wavllm;
using namespace wavllm::simt_tests;
using simt::Counters;
using simt::Recording;

namespace {

template <class F>
Counters counted(F&& f) {
    Recording recording;
    f();
    REQUIRE(recording.launches().size() == 1);
    return recording.total();
}

Counters strided_by(int stride, int offset) {
    const size_t n = static_cast<size_t>(32 * stride + offset);
    OnDevice<float> x(std::vector<float>(n, 1.0f)), y(std::vector<float>(n, 0.0f));
    return counted([&] { strided(Build::simt_checked)(x.data(), y.data(), stride, offset); });
}

}  // namespace

TEST_SUITE_BEGIN("simt");

TEST_CASE("simt counters: sectors of coalesced, strided, shifted and broadcast loads") {
    for (const uint64_t seed : {0, 5}) {
        SeedScope scope(seed);
        const Counters coalesced = strided_by(1, 0);
        CHECK(coalesced.load_requests == 1);
        CHECK(coalesced.load_sectors == 4);  // 32 x 4 bytes
        CHECK(coalesced.load_sectors_ideal == 4);
        CHECK(coalesced.store_requests == 1);
        CHECK(coalesced.store_sectors == 4);
        CHECK(coalesced.bytes_loaded == 128);
        CHECK(coalesced.bytes_stored == 128);
        CHECK(coalesced.sector_ratio() == 1);
        CHECK(coalesced.flops == 7);
        CHECK(coalesced.divergent_intervals == 0);

        CHECK(strided_by(1, 1).load_sectors == 5);  // shifted by 4 bytes: one sector more
        CHECK(strided_by(1, 8).load_sectors == 4);  // by a whole sector
        CHECK(strided_by(2, 0).load_sectors == 8);  // every second word of 256 bytes
        CHECK(strided_by(2, 0).load_sectors_ideal == 4);
        CHECK(strided_by(2, 0).sector_ratio() == 2);
        CHECK(strided_by(32, 0).load_sectors == 32);  // a sector for each lane
        CHECK(strided_by(33, 0).load_sectors == 32);
        CHECK(strided_by(33, 0).load_sectors_ideal == 4);
    }
    OnDevice<float> x(std::vector<float>(1, 1.0f)), y(std::vector<float>(32, 0.0f));
    const Counters c = counted([&] { broadcast(Build::simt_checked)(x.data(), y.data()); });
    CHECK(c.load_sectors == 1);
    CHECK(c.load_sectors_ideal == 1);
    CHECK(c.bytes_loaded == 128);  // as the lanes asked
    CHECK(c.store_sectors == 4);
}

TEST_CASE("simt counters: a float4 is one request") {
    OnDevice<float> x(std::vector<float>(128, 1.0f)), y(std::vector<float>(128, 0.0f));
    const Counters c = counted([&] { vectors(Build::simt_checked)(x.data(), y.data()); });
    CHECK(c.load_requests == 1);
    CHECK(c.load_sectors == 16);  // 32 x 16 bytes
    CHECK(c.load_sectors_ideal == 16);
    CHECK(c.store_requests == 1);
    CHECK(c.store_sectors == 16);
}

TEST_CASE("simt counters: a tile read by columns, plain and padded") {
    simt::DeviceArray<float> y(1024);
    const Counters plain = counted([&] { columns_of_tile(Build::simt_checked)(y.data(), false); });
    CHECK(plain.shared_requests == 64);  // 32 rows written, 32 columns read
    CHECK(plain.shared_wavefronts_ideal == 64);
    CHECK(plain.shared_wavefronts == 32 + 32 * 32);  // a column of [32][32] lies in one bank
    CHECK(plain.bank_conflicts() == 32 * 31);
    CHECK(plain.barriers == 1);
    CHECK(plain.shared_bytes_stored == 4096);
    const Counters padded = counted([&] { columns_of_tile(Build::simt_checked)(y.data(), true); });
    CHECK(padded.shared_requests == 64);
    CHECK(padded.bank_conflicts() == 0);
    CHECK(padded.store_sectors == 32 * 4);
}

TEST_CASE("simt counters: banks of strided shared loads") {
    simt::DeviceArray<float> y(32);
    const auto conflicts = [&](int stride) {
        return counted([&] { shared_stride(Build::simt_checked)(y.data(), stride); }).bank_conflicts();
    };
    CHECK(conflicts(1) == 0);
    CHECK(conflicts(2) == 1);  // two words in each of 16 banks
    CHECK(conflicts(8) == 7);
    CHECK(conflicts(32) == 31);  // all in one
    CHECK(conflicts(33) == 0);
}

TEST_CASE("simt counters: ldmatrix of padded rows meets each bank once; mma counts its own FLOPs") {
    OnDevice<uint16_t> a(std::vector<uint16_t>(256, 0)), b(std::vector<uint16_t>(128, 0));
    simt::DeviceArray<float> c(128);
    const Counters n = counted([&] { mma_tile(Build::simt_checked)(a.data(), b.data(), c.data(), true); });
    CHECK(n.flops == 4096);
    // Stores of 2 bytes: 8 of A (two rows of 16 elements each, 48 bytes apart: 24 - 8 = 16 words apart), 4 of B. ldmatrix: 4
    // wavefronts for x4, 2 for x2.
    CHECK(n.shared_wavefronts == 8 + 4 + 4 + 2);
    CHECK(n.bank_conflicts() == 0);
    CHECK(n.warp_operations == 4);  // syncwarp, two ldmatrix, mma
    CHECK(n.divergent_intervals == 0);
}

TEST_CASE("simt counters: divergence, launches in order, nothing without a recording") {
    OnDevice<float> x(std::vector<float>(32, 1.0f)), y(std::vector<float>(32, 0.0f));
    const Counters c = counted([&] { divergent(Build::simt_checked)(x.data(), y.data()); });
    CHECK(c.divergent_intervals == 1);
    CHECK(c.load_requests == 1);
    CHECK(c.load_sectors == 2);       // 10 words
    CHECK(c.store_requests == 2);     // one for each path
    CHECK(c.store_sectors == 2 + 3);  // 40 bytes from 0; 88 bytes from 40

    Recording outer;
    broadcast(Build::simt_checked)(x.data(), y.data());
    {
        Recording inner;
        divergent(Build::simt_checked)(x.data(), y.data());
        CHECK(inner.launches().size() == 1);
    }
    divergent(Build::simt)(x.data(), y.data());
    REQUIRE(outer.launches().size() == 2);
    CHECK(outer.launches()[0].kernel == "broadcast_kernel");
    CHECK(outer.launches()[0].checked);
    CHECK(outer.launches()[1].kernel == "divergent_kernel");
    CHECK(!outer.launches()[1].checked);
    CHECK(outer.launches()[1].counters.load_requests == 0);
    CHECK(outer.table().find("divergent_kernel") != std::string::npos);
}

TEST_CASE("simt counters: the same for any order of threads") {
    OnDevice<float> x(std::vector<float>(45 * 70, 1.0f)), y(std::vector<float>(45 * 70, 0.0f));
    std::vector<std::string> tables;
    for (const uint64_t seed : {0, 1, 2, 3, 12345}) {
        SeedScope scope(seed);
        Recording recording;
        transpose(Build::simt_checked)(x.data(), y.data(), 45, 70);
        tables.push_back(recording.table());
    }
    for (const std::string& t : tables) CHECK(t == tables[0]);
}

TEST_SUITE_END();
