// MFCC and k-means: what frames are called before anything is trained.
// Witnesses: transformers 4.46's spectrogram (Kaldi's settings) with the cosine transform and differences in NumPy, float64;
// a plain k-means written here; clusters that are known because the rows were made from them.

#include <doctest/doctest.h>

#include <cmath>

#include "data/kmeans.h"
#include "data/mfcc.h"
#include "tensor/philox.h"
#include "tensor/thread_pool.h"

using namespace wavllm;

namespace {

/// Rows around a few points, in turn.
Tensor blobs(int64_t n, int64_t dim, int64_t blobs_, double width) {
    const Philox rng(7, "blobs", 0);
    Tensor x = Tensor::empty({n, dim});
    for (int64_t i = 0; i < n * dim; ++i)
        x.mutable_data<float>()[i] = 5 * rng.normal(static_cast<uint64_t>(1000000 + i / dim % blobs_ * dim + i % dim)) +
                                     static_cast<float>(width) * rng.normal(static_cast<uint64_t>(i));
    return x;
}

/// One pass of Lloyd's algorithm in the plainest form: clusters by these centres, and the mean squared distance.
std::pair<std::vector<int32_t>, double> plain_assignment(const std::vector<double>& x,
                                                         const std::vector<double>& centres, size_t dim) {
    std::vector<int32_t> clusters;
    double sum = 0;
    for (size_t i = 0; i < x.size(); i += dim) {
        double best = INFINITY;
        int32_t which = -1;
        for (size_t k = 0; k < centres.size(); k += dim) {
            double d = 0;
            for (size_t j = 0; j < dim; ++j) d += (x[i + j] - centres[k + j]) * (x[i + j] - centres[k + j]);
            if (d < best) {
                best = d;
                which = static_cast<int32_t>(k / dim);
            }
        }
        clusters.push_back(which);
        sum += best;
    }
    return {clusters, sum / static_cast<double>(clusters.size())};
}

}  // namespace

TEST_CASE("mfcc agrees with an independent implementation") {
    std::vector<float> x(1600);
    for (size_t i = 0; i < x.size(); ++i) {
        const auto n = static_cast<double>(i);
        x[i] = static_cast<float>(0.3 * std::sin(0.05 * n + 1e-4 * n * n) + 0.1 * std::sin(0.9 * n));
    }
    const Tensor y = mfcc(x);
    REQUIRE(y.shape().str() == Shape({8, 39}).str());
    constexpr int64_t columns[] = {0, 1, 6, 12, 13, 20, 25, 26, 31, 38};
    constexpr double expected[3][10] = {{-43.528668, 48.801568, -43.244212, -46.976953, 0.68835135, -5.577088,
                                         2.9719243, 0.079723723, -1.367125, -0.10275006},
                                        {-40.062763, 53.589119, -80.983413, -32.559945, 0.61422109, 19.845178,
                                         -1.9821194, -0.23345807, 9.8834112, -1.8623867},
                                        {-39.762365, 43.310458, 35.796857, -41.376335, -0.094853299, 8.4932205,
                                         1.8522161, -0.042904186, -1.113646, 0.9438136}};
    const std::vector<double> v = y.values();
    for (size_t r = 0; r < 3; ++r)
        for (size_t c = 0; c < 10; ++c) {
            const auto t = std::array<size_t, 3>{0, 3, 7}[r];
            CAPTURE(t);
            CAPTURE(columns[c]);
            CHECK(std::abs(v[t * 39 + static_cast<size_t>(columns[c])] - expected[r][c]) <= 2e-5);
        }
    double sum = 0;
    for (const double a : v) sum += std::abs(a);
    CHECK(sum == doctest::Approx(6771.72572).epsilon(1e-7));
    CHECK(mfcc(std::span(x).first(399)).dim(0) == 0);
    CHECK(mfcc(std::span(x).first(400)).dim(0) == 1);
    CHECK(mfcc(std::vector<float>(800)).values()[0] == doctest::Approx(std::log(0x1p-23) * std::sqrt(23)));  // silence
}

TEST_CASE("kmeans ends where a plain one would stay, and assigns as it does") {
    const Tensor x = blobs(700, 5, 6, 1.5);
    const KMeans found = kmeans(x, {.clusters = 9, .iterations = 200, .seed = 3});
    REQUIRE(found.settled);
    const auto [clusters, inertia] = plain_assignment(x.values(), found.centres.values(), 5);
    CHECK(found.inertia == doctest::Approx(inertia).epsilon(1e-6));
    const Tensor assigned = nearest_centres(x, found.centres);
    for (size_t i = 0; i < clusters.size(); ++i) REQUIRE(assigned.data<int32_t>()[i] == clusters[i]);
    // each centre is the mean of its rows
    std::vector<double> sums(45), counts(9);
    for (size_t i = 0; i < clusters.size(); ++i) {
        ++counts[static_cast<size_t>(clusters[i])];
        for (size_t d = 0; d < 5; ++d) sums[static_cast<size_t>(clusters[i]) * 5 + d] += x.values()[i * 5 + d];
    }
    for (size_t k = 0; k < 9; ++k)
        for (size_t d = 0; d < 5; ++d)
            CHECK(found.centres.values()[k * 5 + d] == doctest::Approx(sums[k * 5 + d] / counts[k]).epsilon(1e-5));
    // more clusters, less distance
    CHECK(kmeans(x, {.clusters = 3, .seed = 3}).inertia > kmeans(x, {.clusters = 30, .seed = 3}).inertia);
}

TEST_CASE("kmeans finds clusters that lie apart, with any number of threads") {
    const Tensor x = blobs(1000, 8, 5, 0.05);
    const int before = num_threads();
    std::string bytes;
    for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        const KMeans found = kmeans(x, {.clusters = 5});
        CHECK(found.inertia < 8 * 0.05 * 0.05 * 1.2);
        const Tensor clusters = nearest_centres(x, found.centres);
        for (int64_t i = 5; i < 1000; ++i) REQUIRE(clusters.data<int32_t>()[i] == clusters.data<int32_t>()[i - 5]);
        const std::string these(static_cast<const char*>(found.centres.raw()), found.centres.bytes());
        CHECK((bytes.empty() || bytes == these));
        bytes = these;
    }
    set_num_threads(before);
    CHECK_THROWS_WITH_AS(kmeans(Tensor::zeros({9, 2}), {.clusters = 3}),
                         "k-means: 3 clusters are asked for, but the 9 rows have 1 distinct values; ask for fewer",
                         UsageError);
    CHECK_THROWS_AS(kmeans(x, {.clusters = 1001}), UsageError);
    Tensor broken = blobs(20, 3, 2, 1);
    broken.mutable_data<float>()[3 * 7 + 1] = NAN;
    CHECK_THROWS_WITH_AS(kmeans(broken, {.clusters = 2}), doctest::Contains("k-means: row 7 has the value nan"),
                         UsageError);
}

// A run of t iterations shows the centres after t moves, and so which of them the next assignment leaves without rows.
TEST_CASE("kmeans: a centre without rows moves to the row that is farthest from its own") {
    // From -3.1, 1 and 3 the centres move to -1.6, -1/3 and 2.3, and the middle one has lost its rows, -1 and 1, to both sides.
    const std::vector<float> line{-3.1f, -1.1f, -1.1f, -1.1f, -1, -1, 1, 2.1f, 2.1f, 2.1f, 3};
    const Tensor x = Tensor::from(line, {11, 1});
    const auto points = x.values();
    int met = 0;
    for (uint64_t seed = 1; seed <= 3000 && met < 3; ++seed) {
        const KMeans before = kmeans(x, {.clusters = 3, .iterations = 1, .seed = seed});
        const auto centres = before.centres.values();
        const auto clusters = plain_assignment(points, centres, 1).first;
        int32_t empty = 0;
        while (empty < 3 && std::count(clusters.begin(), clusters.end(), empty) > 0) ++empty;
        if (empty == 3) continue;
        size_t farthest = 0;
        const auto distance = [&](size_t i) { return std::abs(points[i] - centres[static_cast<size_t>(clusters[i])]); };
        for (size_t i = 1; i < 11; ++i)
            if (distance(i) > distance(farthest)) farthest = i;
        const auto after = kmeans(x, {.clusters = 3, .iterations = 2, .seed = seed}).centres.values();
        CHECK(after[static_cast<size_t>(empty)] == points[farthest]);
        ++met;
    }
    CHECK(met > 0);
}
