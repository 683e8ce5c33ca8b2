#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "wavllm/support/stopwatch.h"

namespace wavllm {

struct Timing {
    double median = 0, fastest = 0, slowest = 0;
    int runs = 0;
    std::vector<double> samples{};  ///< in the order measured

    nlohmann::ordered_json to_json() const;
};

Timing summarize(std::vector<double> seconds);

/// Calls `run` once to warm up, then at least `runs` times and for at least 0.2 s. run returns the seconds of the part
/// that counts, so that it can prepare each time.
Timing measure(const std::function<double()>& run, int runs = 5);
/// The same, all of the call counting.
Timing measure_all_of(const std::function<void()>& run, int runs = 5);

/// "1.234 ms", "12.3 us": four digits at most.
std::string format_seconds(double seconds);

}  // namespace wavllm
