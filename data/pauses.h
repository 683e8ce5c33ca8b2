#pragma once
#include <span>
#include <vector>

namespace wavllm {

/// A recording in parts of at most `longest` seconds, end to end, cut where it is quietest: in the middle of the 0.2 s
/// of least energy in the second half of what a part may be. longest: at least 1.
std::vector<std::span<const float>> cut_at_pauses(std::span<const float> samples, double longest);

}  // namespace wavllm
