#pragma once
// k-means: what a frame of speech sounds like, as one of K numbers.

#include "tensor/tensor.h"

namespace wavllm {

struct KMeansConfig {
    int64_t clusters = 100;
    int64_t iterations = 30;  ///< at most; it ends when no row changes its cluster
    uint64_t seed = 1;
};

struct KMeans {
    Tensor centres;  ///< [K, D] f32
    double inertia =
        0;  ///< mean squared distance of the rows to their centre, before the last move of the centres; of `centres`
            ///< where it settled
    int64_t iterations = 0;
    bool settled = false;  ///< the last iteration moved no row
};

/// Lloyd's algorithm from the seeds of k-means++ (Arthur and Vassilvitskii 2007): a row becomes the next centre with a
/// probability that grows with its squared distance to the nearest one there is. x: [N, D] f32. Distances and means in
/// double, rows in order, numbers from Philox(seed, "kmeans"): the same bits at any number of threads. A centre that no row
/// is left with moves to the row that is farthest from its own. Throws UsageError for fewer distinct rows than clusters and
/// for values that are not finite.
KMeans kmeans(const Tensor& x, const KMeansConfig& config);

/// The nearest centre of each row, i32 [N]; the first of several.
Tensor nearest_centres(const Tensor& x, const Tensor& centres);

}  // namespace wavllm
