#pragma once
// The cheap decoder of a CTC head: best path, B(argmax of each row) (Graves et al. 2006, section 3.2).

#include <cstdint>
#include <span>
#include <vector>

namespace wavllm {

struct CtcPath {
    std::vector<int32_t> tokens;
    std::vector<int64_t> rows;  ///< row of the clip, from 0, in which each token begins: the alignment
    std::vector<int64_t> ends;  ///< one past the last row of that run
};

/// From the likeliest token of each row of one clip: runs of one token collapse, blanks go. `blank` is no token's id.
CtcPath ctc_collapse(std::span<const int32_t> path, int32_t blank);

}  // namespace wavllm
