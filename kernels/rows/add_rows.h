#pragma once
// Adding rows into others on a device, for the backward of gather_rows, splice_rows and embedding.

#include <algorithm>

#include "kernels/common/check.h"
#include "kernels/common/on_device.h"
#include "kernels/rows/rows_body.h"

namespace wavllm::kernels {

/// into[row(n),:] += dy[n,:] for n = 0, 1, ... < count with row(n) >= 0, each row's terms in this order: the CPU's bits.
/// dy [count, D] and into [.., D] are on one device; row(n) is known to the CPU, which sorts the entries by it.
template <class Row>
void add_rows_on_device(const Tensor& dy, Tensor& into, int64_t count, Row row) {
    const Device device = into.device();
    Tensor order = workspace({count}, Device::cpu, DType::i64);
    int64_t* entries = order.mutable_data<int64_t>();
    int64_t used = 0;
    for (int64_t n = 0; n < count; ++n)
        if (const int64_t r = row(n); r >= 0) entries[used++] = r << 32 | n;
    std::sort(entries, entries + used);
    PurposeScope scope(Purpose::workspace);
    const Tensor sorted = order.to(device);
    on(add_rows_body, device)(dy.device_data<float>(), sorted.device_data<int64_t>(), into.mutable_device_data<float>(),
                              used, into.dim(1));
}

}  // namespace wavllm::kernels
