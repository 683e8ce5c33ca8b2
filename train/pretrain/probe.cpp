#include "train/pretrain/probe.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/error.h"
#include "tensor/thread_pool.h"

namespace wavllm {

namespace {

constexpr double kPenalties[] = {1e-4, 1e-3, 1e-2, 1e-1};
constexpr int kPenaltyCount = static_cast<int>(std::size(kPenalties)), kFolds = 3, kSteps = 200;

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

    explicit Scaling(const ProbeSet& s) : mean(static_cast<size_t>(s.dim)), factor(mean.size()) {
        const auto n = static_cast<double>(s.size());
        for (size_t i = 0; i < s.rows.size(); ++i) mean[i % mean.size()] += s.rows[i] / n;
        for (size_t i = 0; i < s.rows.size(); ++i)
            factor[i % mean.size()] += std::pow(s.rows[i] - mean[i % mean.size()], 2) / n;
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

/// Half the largest eigenvalue of the rows' second moments bounds the curvature of the softmax loss.
double curvature(const Design& d) {
    std::vector<double> v(static_cast<size_t>(d.width), 1), next;
    double length = 0;
    for (int step = 0; step < 30; ++step) {
        next.assign(v.size(), 0);
        for (int64_t i = 0; i < d.rows(); ++i) {
            double dot = 0;
            for (size_t k = 0; k < v.size(); ++k) dot += d.row(i)[k] * v[k];
            for (size_t k = 0; k < v.size(); ++k) next[k] += dot * d.row(i)[k] / static_cast<double>(d.rows());
        }
        length = 0;
        for (const double x : next) length += x * x;
        length = std::sqrt(length);
        for (size_t k = 0; k < v.size(); ++k) v[k] = next[k] / length;
    }
    return 0.55 * length;  // a tenth more, since 30 steps may end below it
}

/// Weights [width, classes]. Nesterov's accelerated descent.
std::vector<double> fit(const Design& d, int32_t classes, double penalty) {
    const auto size = static_cast<size_t>(d.width * classes);
    std::vector<double> w(size), ahead(size), gradient(size);
    std::vector<double> errors(static_cast<size_t>(classes));
    const double rate = 1 / (curvature(d) + penalty);
    for (int step = 0; step < kSteps; ++step) {
        std::fill(gradient.begin(), gradient.end(), 0.0);
        for (int64_t i = 0; i < d.rows(); ++i) {
            logits_of(d, ahead, i, classes, errors.data());
            const double most = *std::max_element(errors.begin(), errors.end());
            double sum = 0;
            for (double& p : errors) sum += p = std::exp(p - most);
            for (double& p : errors) p /= sum * static_cast<double>(d.rows());
            errors[static_cast<size_t>(d.labels[static_cast<size_t>(i)])] -= 1 / static_cast<double>(d.rows());
            for (int64_t k = 0; k < d.width; ++k)
                for (int32_t c = 0; c < classes; ++c)
                    gradient[static_cast<size_t>(k * classes + c)] += d.row(i)[k] * errors[static_cast<size_t>(c)];
        }
        for (size_t i = 0; i + static_cast<size_t>(classes) < size; ++i)
            gradient[i] += penalty * ahead[i];  // the bias is free
        const double momentum = static_cast<double>(step) / (step + 3.0);
        for (size_t i = 0; i < size; ++i) {
            const double next = ahead[i] - rate * gradient[i];
            ahead[i] = next + momentum * (next - w[i]);
            w[i] = next;
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
    const Scaling scaling(train);
    // all fits at once, each on one thread: they are many and small
    int64_t right[kPenaltyCount * kFolds] = {};
    parallel_for(kPenaltyCount * kFolds, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t fold = i % kFolds;
            const Design seen = scaling.apply(train, [&](int32_t clip) { return clip % kFolds != fold; }),
                         held = scaling.apply(train, [&](int32_t clip) { return clip % kFolds == fold; });
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
    const Design seen = scaling.apply(train, all);
    const std::vector<double> w = fit(seen, classes, result.penalty);
    result.train_accuracy = accuracy(seen, w, classes);
    result.test_accuracy = accuracy(scaling.apply(test, all), w, classes);
    return result;
}

}  // namespace wavllm
