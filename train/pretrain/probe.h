#pragma once
// What a linear classifier finds in features: the test of an encoder that needs no language model.

#include <cstdint>
#include <string>
#include <vector>

namespace wavllm {

/// Rows of features with their classes, and whose they are: rows of one clip are never in two folds.
struct ProbeSet {
    int64_t dim = 0;
    std::vector<float> rows;  ///< [N, dim]
    std::vector<int32_t> labels;
    std::vector<int32_t> clips;

    int64_t size() const {
        return static_cast<int64_t>(labels.size());
    }
    void add(const float* row, int32_t label, int32_t clip);
};

struct ProbeResult {
    double train_accuracy = 0, test_accuracy = 0;
    double fold_accuracy = 0;  ///< of the training clips, each fold's by the two others: for choosing between features
    double penalty = 0;        ///< that was chosen
};

/// A fit holds the square of their number in double, and takes its cube in operations; 13 fits a probe.
inline constexpr int64_t kProbeMostFeatures = 4096;

/// Softmax regression on features that are standardised by the training rows, with a squared penalty on the weights that three
/// folds of the training clips (clip % 3) choose of 1e-4, 1e-3, 1e-2 and 1e-1; a fold is fitted on features standardised without it. A hundred accelerated steps in double from zero,
/// each by the inverse of a bound of the curvature, so that features that are nearly alike are fitted to the end as well: no
/// random numbers, the same bits always. Throws ShapeError for sets that do not fit each other, UsageError for more than
/// kProbeMostFeatures.
ProbeResult linear_probe(const ProbeSet& train, const ProbeSet& test, int32_t classes);

}  // namespace wavllm
