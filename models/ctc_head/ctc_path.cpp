#include "models/ctc_head/ctc_path.h"

namespace wavllm {

CtcPath ctc_collapse(std::span<const int32_t> path, int32_t blank) {
    CtcPath result;
    for (size_t t = 0; t < path.size();) {
        size_t end = t + 1;
        while (end < path.size() && path[end] == path[t]) ++end;
        if (path[t] != blank) {
            result.tokens.push_back(path[t]);
            result.rows.push_back(static_cast<int64_t>(t));
            result.ends.push_back(static_cast<int64_t>(end));
        }
        t = end;
    }
    return result;
}

}  // namespace wavllm
