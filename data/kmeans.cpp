#include "data/kmeans.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "kernels/common/check.h"
#include "tensor/philox.h"
#include "tensor/thread_pool.h"

namespace wavllm {

namespace {

constexpr int64_t kChunk = 256;  // rows

/// Centres side by side, [D, K]: distances to all of them are computed together, each in the order of D.
class Centres {
public:
    Centres(int64_t k, int64_t d) : k_(k), d_(d), values_(static_cast<size_t>(k * d)) {}

    double& at(int64_t k, int64_t d) {
        return values_[static_cast<size_t>(d * k_ + k)];
    }
    void set(int64_t k, const float* row) {
        for (int64_t d = 0; d < d_; ++d) at(k, d) = row[d];
    }
    /// The nearest of the centres and its squared distance.
    std::pair<int32_t, double> nearest(const float* row, std::vector<double>& distances) const {
        distances.assign(static_cast<size_t>(k_), 0);
        double* out = distances.data();
        for (int64_t d = 0; d < d_; ++d) {
            const double v = row[d], *c = values_.data() + d * k_;
            for (int64_t k = 0; k < k_; ++k) out[k] += (v - c[k]) * (v - c[k]);
        }
        int64_t best = 0;
        for (int64_t k = 1; k < k_; ++k)
            if (out[k] < out[best]) best = k;
        return {static_cast<int32_t>(best), out[best]};
    }
    Tensor tensor() {
        Tensor t = Tensor::empty({k_, d_});
        float* p = t.mutable_data<float>();
        for (int64_t k = 0; k < k_; ++k)
            for (int64_t d = 0; d < d_; ++d) *p++ = static_cast<float>(at(k, d));
        return t;
    }

private:
    int64_t k_, d_;
    std::vector<double> values_;
};

/// Row by row into `clusters` and `distances`.
void assign(const Tensor& x, const Centres& centres, std::vector<int32_t>& clusters, std::vector<double>& distances) {
    const int64_t dim = x.dim(1);
    const float* rows = x.data<float>();
    parallel_for(x.dim(0), kChunk, [&](int64_t begin, int64_t end) {
        std::vector<double> scratch;
        for (int64_t i = begin; i < end; ++i)
            std::tie(clusters[static_cast<size_t>(i)], distances[static_cast<size_t>(i)]) =
                centres.nearest(rows + i * dim, scratch);
    });
}

Centres seeds(const Tensor& x, const KMeansConfig& config) {
    const int64_t n = x.dim(0), dim = x.dim(1);
    const float* rows = x.data<float>();
    const Philox rng(config.seed, "kmeans", 0);
    Centres centres(config.clusters, dim);
    std::vector<double> nearest(static_cast<size_t>(n), std::numeric_limits<double>::infinity());
    auto chosen = static_cast<int64_t>(static_cast<double>(rng.uniform(0)) * static_cast<double>(n));
    for (int64_t k = 0;; ++k) {
        const float* centre = rows + chosen * dim;
        centres.set(k, centre);
        if (k + 1 == config.clusters) return centres;
        parallel_for(n, kChunk, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) {
                double sum = 0;
                for (int64_t d = 0; d < dim; ++d) {
                    const double v = static_cast<double>(rows[i * dim + d]) - centre[d];
                    sum += v * v;
                }
                double& least = nearest[static_cast<size_t>(i)];
                least = std::min(least, sum);
            }
        });
        double total = 0;
        for (const double v : nearest) total += v;
        if (!(total > 0))
            throw UsageError(
                "k-means: {} clusters are asked for, but the {} rows have {} distinct values; ask for fewer",
                config.clusters, n, k + 1);
        double left = static_cast<double>(rng.uniform(static_cast<uint64_t>(k) + 1)) * total;
        chosen = -1;
        for (int64_t i = 0; i < n; ++i) {
            const double v = nearest[static_cast<size_t>(i)];
            if (v == 0) continue;  // a centre already
            chosen = i;            // the last one too where rounding leaves a rest
            if ((left -= v) < 0) break;
        }
    }
}

/// Every centre becomes the mean of its rows.
void move(const Tensor& x, const std::vector<int32_t>& clusters, std::vector<double>& distances, int64_t k,
          Centres& centres) {
    const int64_t n = x.dim(0), dim = x.dim(1);
    const float* row = x.data<float>();
    std::vector<double> sums(static_cast<size_t>(k * dim));
    std::vector<int64_t> counts(static_cast<size_t>(k));
    for (int64_t i = 0; i < n; ++i, row += dim) {
        const auto c = static_cast<size_t>(clusters[static_cast<size_t>(i)]);
        ++counts[c];
        double* sum = sums.data() + c * static_cast<size_t>(dim);
        for (int64_t d = 0; d < dim; ++d) sum[d] += row[d];
    }
    for (int64_t c = 0; c < k; ++c) {
        const auto count = static_cast<double>(counts[static_cast<size_t>(c)]);
        if (count > 0) {
            for (int64_t d = 0; d < dim; ++d) centres.at(c, d) = sums[static_cast<size_t>(c * dim + d)] / count;
            continue;
        }
        const auto farthest = std::max_element(distances.begin(), distances.end());
        centres.set(c, x.data<float>() + (farthest - distances.begin()) * dim);
        *farthest = 0;
    }
}

}  // namespace

KMeans kmeans(const Tensor& x, const KMeansConfig& config) {
    kernels::expect("kmeans", "x", x);
    if (x.rank() != 2) throw ShapeError("kmeans: x must be [rows, D], but is {}", x.describe());
    const int64_t n = x.dim(0);
    if (config.clusters < 1 || config.clusters > n)
        throw UsageError("k-means: {} clusters of {} rows cannot be; ask for 1 to {}", config.clusters, n, n);
    const float* values = x.data<float>();
    if (const float* bad = std::find_if(values, values + x.numel(), [](float v) { return !std::isfinite(v); });
        bad != values + x.numel())
        throw UsageError("k-means: row {} has the value {}; what made these features is broken",
                         (bad - values) / x.dim(1), *bad);
    Centres centres = seeds(x, config);
    std::vector<int32_t> clusters(static_cast<size_t>(n)), before;
    std::vector<double> distances(static_cast<size_t>(n));
    KMeans result;
    while (result.iterations < config.iterations && !result.settled) {
        before = clusters;
        assign(x, centres, clusters, distances);
        double sum = 0;
        for (const double v : distances) sum += v;
        result.inertia = sum / static_cast<double>(n);
        result.settled = result.iterations > 0 && clusters == before;
        ++result.iterations;
        if (result.settled) break;  // the centres are the means of these rows already
        move(x, clusters, distances, config.clusters, centres);
    }
    result.centres = centres.tensor();
    return result;
}

Tensor nearest_centres(const Tensor& x, const Tensor& centres) {
    kernels::expect("nearest_centres", "x", x);
    kernels::expect("nearest_centres", "centres", centres, Shape{centres.dim(0), x.dim(1)});
    Centres c(centres.dim(0), centres.dim(1));
    for (int64_t k = 0; k < centres.dim(0); ++k) c.set(k, centres.data<float>() + k * centres.dim(1));
    std::vector<int32_t> clusters(static_cast<size_t>(x.dim(0)));
    std::vector<double> distances(clusters.size());
    assign(x, c, clusters, distances);
    return Tensor::from(clusters, {x.dim(0)});
}

}  // namespace wavllm
