#pragma once
// Reference tensors of golden/ and the tolerance that goes with each: ten times what float32 was off in the reference
// itself (case.json's f32_rel, at least 1e-5), of the tensor's largest value.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "data/json.h"
#include "models/checkpoint/checkpoint.h"
#include "models/observer.h"
#include "models/weights.h"
#include "tests/support/shared.h"

namespace wavllm::tests {

class Golden {
public:
    explicit Golden(const std::string& file)
        : checkpoint_(open_checkpoint(shared("golden/" + file))),
          facts_(read_json_file(shared("golden/case.json"))["tensors"][file]) {}

    Tensor operator[](const std::string& name) const {
        return to_tensor(checkpoint_->at(name));
    }
    /// Checks actual, of as many elements, against a reference tensor. Fails on NaN.
    void check(const std::string& name, const Tensor& actual) const {
        CAPTURE(name);
        const std::vector<double> expected = (*this)[name].values(), got = actual.values();
        REQUIRE(expected.size() == got.size());
        const auto fact = facts_.at(name);
        const double tolerance =
            std::max(1e-5, 10 * fact.at("f32_rel").get<double>()) * fact.at("max_abs").get<double>();
        CHECK(largest_difference(expected, got) <= tolerance);
    }
    static double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
        double worst = 0;
        for (size_t i = 0; i < a.size(); ++i) {
            const double d = std::abs(a[i] - b[i]);
            worst = std::isnan(d) ? INFINITY : std::max(worst, d);
        }
        return worst;
    }

private:
    std::unique_ptr<Checkpoint> checkpoint_;
    nlohmann::json facts_;
};

/// Keeps all that a model lets see.
struct Seen {
    std::map<std::string, Tensor> tensors;
    Observer observer = [this](const std::string& name, const Tensor& value) {
        tensors.insert_or_assign(name, value.clone());
    };
    const Tensor& operator[](const std::string& name) const {
        return tensors.at(name);
    }
};

inline Tensor transposed(const Tensor& t) {
    return t.transpose(0, 1).to_contiguous();
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
    return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

}  // namespace wavllm::tests
