#include "train/pretrain/probe.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/error.h"
#include "tensor/thread_pool.h"

namespace wavllm {

namespace {

constexpr double kPenalties[] = {1e-4, 1e-3, 1e-2, 1e-1};
constexpr int kPenaltyCount = static_cast<int>(std::size(kPenalties)), kFolds = 3, kSteps = 100;

/// Rows in double, standardised, with a one at the end for the bias.
struct Design {
    int64_t width;
    std::vector<double> x;
    std::vector<int32_t> labels;

    int64_t rows() const {
        return static_cast<int64_t>(labels.size());
    }
    const double* row(int64_t i) const {
        return x.data() + i * width;
    }
};

struct Scaling {
    std::vector<double> mean, factor;

    /// By those rows of s that `wanted(clip)` chooses.
    template <class Wanted>
    Scaling(const ProbeSet& s, Wanted&& wanted) : mean(static_cast<size_t>(s.dim)), factor(mean.size()) {
        const auto n = static_cast<double>(std::count_if(s.clips.begin(), s.clips.end(), wanted));
        const auto each = [&](auto&& f) {
            for (size_t i = 0; i < s.rows.size(); ++i)
                if (wanted(s.clips[i / mean.size()])) f(i % mean.size(), s.rows[i]);
        };
        each([&](size_t k, double v) { mean[k] += v / n; });
        each([&](size_t k, double v) { factor[k] += std::pow(v - mean[k], 2) / n; });
        for (double& f : factor) f = f > 0 ? 1 / std::sqrt(f) : 0;
    }
    /// Those rows of s that `wanted(clip)` chooses.
    template <class Wanted>
    Design apply(const ProbeSet& s, Wanted&& wanted) const {
        Design d{s.dim + 1, {}, {}};
        for (int64_t i = 0; i < s.size(); ++i) {
            if (!wanted(s.clips[static_cast<size_t>(i)])) continue;
            for (size_t k = 0; k < mean.size(); ++k)
                d.x.push_back((s.rows[static_cast<size_t>(i) * mean.size() + k] - mean[k]) * factor[k]);
            d.x.push_back(1);
            d.labels.push_back(s.labels[static_cast<size_t>(i)]);
        }
        return d;
    }
};

void logits_of(const Design& d, const std::vector<double>& w, int64_t i, int32_t classes, double* to) {
    std::fill_n(to, classes, 0.0);
    for (int64_t k = 0; k < d.width; ++k)
        for (int32_t c = 0; c < classes; ++c) to[c] += d.row(i)[k] * w[static_cast<size_t>(k * classes + c)];
}

/// The lower triangle L of A = L L^T for A = X^T X / 2n + penalty: at no weights is the loss curved more (Boehning 1992), so
/// that a step by its inverse needs no rate, however alike the features are.
std::vector<double> curvature_root(const Design& d, double penalty) {
    const auto width = static_cast<size_t>(d.width);
    std::vector<double> a(width * width);
    for (int64_t i = 0; i < d.rows(); ++i)
        for (size_t k = 0; k < width; ++k) {
            const double x = d.row(i)[k] / (2 * static_cast<double>(d.rows()));
            for (size_t j = 0; j <= k; ++j) a[k * width + j] += x * d.row(i)[j];
        }
    for (size_t k = 0; k < width; ++k) a[k * width + k] += penalty;
    for (size_t k = 0; k < width; ++k)
        for (size_t j = 0; j <= k; ++j) {
            double sum = a[k * width + j];
            for (size_t i = 0; i < j; ++i) sum -= a[k * width + i] * a[j * width + i];
            a[k * width + j] = j < k ? sum / a[j * width + j] : std::sqrt(sum);
        }
    return a;
}

/// x [width, classes] becomes the solution of L L^T y = x.
void solve(const std::vector<double>& root, int64_t classes, std::vector<double>& x) {
    const auto n = static_cast<size_t>(classes), width = x.size() / n;
    const auto subtract = [&](size_t to, size_t from, double by) {
        for (size_t c = 0; c < n; ++c) x[to * n + c] -= by * x[from * n + c];
    };
    const auto divide = [&](size_t row) {
        for (size_t c = 0; c < n; ++c) x[row * n + c] /= root[row * width + row];
    };
    for (size_t k = 0; k < width; ++k) {
        for (size_t j = 0; j < k; ++j) subtract(k, j, root[k * width + j]);
        divide(k);
    }
    for (size_t k = width; k-- > 0;) {
        divide(k);
        for (size_t j = 0; j < k; ++j) subtract(j, k, root[k * width + j]);
    }
}

/// The gradient of mean cross-entropy and penalty at w.
void gradient_of(const Design& d, int32_t classes, double penalty, const std::vector<double>& w,
                 std::vector<double>& gradient) {
    const auto n = static_cast<double>(d.rows());
    std::vector<double> errors(static_cast<size_t>(classes));
    for (size_t i = 0; i < w.size(); ++i) gradient[i] = penalty * w[i];
    for (int64_t i = 0; i < d.rows(); ++i) {
        logits_of(d, w, i, classes, errors.data());
        const double most = *std::max_element(errors.begin(), errors.end());
        double sum = 0;
        for (double& p : errors) sum += p = std::exp(p - most);
        for (double& p : errors) p /= sum * n;
        errors[static_cast<size_t>(d.labels[static_cast<size_t>(i)])] -= 1 / n;
        for (int64_t k = 0; k < d.width; ++k)
            for (int32_t c = 0; c < classes; ++c)
                gradient[static_cast<size_t>(k * classes + c)] += d.row(i)[k] * errors[static_cast<size_t>(c)];
    }
}

/// Weights [width, classes]. Nesterov's accelerated descent, in the metric of the curvature's bound.
std::vector<double> fit(const Design& d, int32_t classes, double penalty) {
    const auto size = static_cast<size_t>(d.width * classes);
    std::vector<double> w(size), ahead(size), step(size);
    const std::vector<double> root = curvature_root(d, penalty);
    for (int i = 0; i < kSteps; ++i) {
        gradient_of(d, classes, penalty, ahead, step);
        solve(root, classes, step);
        const double momentum = static_cast<double>(i) / (i + 3.0);
        for (size_t k = 0; k < size; ++k) {
            const double next = ahead[k] - step[k];
            ahead[k] = next + momentum * (next - w[k]);
            w[k] = next;
        }
    }
    return w;
}

int64_t correct(const Design& d, const std::vector<double>& w, int32_t classes) {
    std::vector<double> p(static_cast<size_t>(classes));
    int64_t n = 0;
    for (int64_t i = 0; i < d.rows(); ++i) {
        logits_of(d, w, i, classes, p.data());
        n += std::max_element(p.begin(), p.end()) - p.begin() == d.labels[static_cast<size_t>(i)];
    }
    return n;
}

double accuracy(const Design& d, const std::vector<double>& w, int32_t classes) {
    return static_cast<double>(correct(d, w, classes)) / static_cast<double>(std::max<int64_t>(1, d.rows()));
}

}  // namespace

void ProbeSet::add(const float* row, int32_t label, int32_t clip) {
    rows.insert(rows.end(), row, row + dim);
    labels.push_back(label);
    clips.push_back(clip);
}

ProbeResult linear_probe(const ProbeSet& train, const ProbeSet& test, int32_t classes) {
    if (train.dim != test.dim || train.dim < 1 || train.size() < 1 || test.size() < 1)
        throw ShapeError("probe: {} rows of {} features to train on, but {} of {} to test with", train.size(),
                         train.dim, test.size(), test.dim);
    for (const ProbeSet* s : {&train, &test})
        for (const int32_t label : s->labels)
            if (label < 0 || label >= classes) throw ShapeError("probe: class {} is not in [0, {})", label, classes);
    if (train.dim > kProbeMostFeatures)
        throw UsageError("probe: {} features; at most {} are fitted, since a fit holds their square", train.dim,
                         kProbeMostFeatures);
    // all fits at once, each on one thread: they are many and small
    int64_t right[kPenaltyCount * kFolds] = {};
    parallel_for(kPenaltyCount * kFolds, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t fold = i % kFolds;
            const auto is_seen = [&](int32_t clip) { return clip % kFolds != fold; };
            const Scaling scaling(train, is_seen);
            const Design seen = scaling.apply(train, is_seen),
                         held = scaling.apply(train, [&](int32_t clip) { return !is_seen(clip); });
            if (seen.rows() > 0) right[i] = correct(held, fit(seen, classes, kPenalties[i / kFolds]), classes);
        }
    });
    ProbeResult result;
    int64_t most = -1;
    for (int i = 0; i < kPenaltyCount; ++i)
        if (const int64_t n = std::accumulate(right + i * kFolds, right + (i + 1) * kFolds, int64_t{0}); n > most) {
            most = n;
            result.penalty = kPenalties[i];
        }
    result.fold_accuracy = static_cast<double>(most) / static_cast<double>(train.size());
    const auto all = [](int32_t) { return true; };
    const Scaling scaling(train, all);
    const Design seen = scaling.apply(train, all);
    const std::vector<double> w = fit(seen, classes, result.penalty);
    result.train_accuracy = accuracy(seen, w, classes);
    result.test_accuracy = accuracy(scaling.apply(test, all), w, classes);
    return result;
}

}  // namespace wavllm
