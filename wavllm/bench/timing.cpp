#include "wavllm/bench/timing.h"

#include <fmt/format.h>

#include <algorithm>

namespace wavllm {

nlohmann::ordered_json Timing::to_json() const {
    return {{"median", median}, {"fastest", fastest}, {"slowest", slowest}, {"runs", runs}, {"samples", samples}};
}

Timing summarize(std::vector<double> seconds) {
    std::vector<double> samples = seconds;
    std::sort(seconds.begin(), seconds.end());
    const size_t n = seconds.size(), half = n / 2;
    const double median = n % 2 ? seconds[half] : (seconds[half - 1] + seconds[half]) / 2;
    return {median, seconds.front(), seconds.back(), static_cast<int>(n), std::move(samples)};
}

Timing measure(const std::function<double()>& run, int runs) {
    constexpr double kAtLeast = 0.2;
    constexpr int kAtMost = 1000;
    run();
    std::vector<double> seconds;
    const Stopwatch total;
    while (static_cast<int>(seconds.size()) < runs || (total.seconds() < kAtLeast && seconds.size() < kAtMost))
        seconds.push_back(run());
    return summarize(std::move(seconds));
}

Timing measure_all_of(const std::function<void()>& run, int runs) {
    return measure(
        [&] {
            const Stopwatch watch;
            run();
            return watch.seconds();
        },
        runs);
}

std::string format_seconds(double seconds) {
    if (seconds >= 1) return fmt::format("{:.3f} s", seconds);
    if (seconds >= 1e-3) return fmt::format("{:.{}f} ms", seconds * 1e3, seconds >= 0.1 ? 1 : 2);
    return fmt::format("{:.1f} us", seconds * 1e6);
}

}  // namespace wavllm
