#include "train/schedule.h"

#include <cmath>
#include <numbers>

namespace wavllm {

double Schedule::factor(int64_t step) const {
    if (step < warmup_steps) return static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
    if (decay == "constant" || steps <= warmup_steps) return 1;
    const double done = static_cast<double>(step - warmup_steps) / static_cast<double>(steps - warmup_steps);
    const double left = decay == "linear" ? 1 - done : (1 + std::cos(std::numbers::pi * done)) / 2;
    return final_rate + (1 - final_rate) * left;
}

}  // namespace wavllm
