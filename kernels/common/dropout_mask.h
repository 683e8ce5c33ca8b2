#pragma once
// A dropout mask as kernels of devices take it: DropoutKey (kernels/dropout/dropout.h) in plain numbers.

#include <cstdint>

namespace wavllm::kernels {

struct DropoutMask {
    const int64_t* row_keys = nullptr;  ///< of the device, one a row; null: nothing is dropped
    uint64_t seed = 0;
    uint32_t purpose = 0, step = 0;
    uint32_t threshold = 0;  ///< an element is kept if its 32 random bits are at least this
    float factor = 1;        ///< 1 / (1 - p), of what is kept
};

}  // namespace wavllm::kernels
