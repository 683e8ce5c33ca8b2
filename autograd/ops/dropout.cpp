#include "autograd/ops/dropout.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"

namespace wavllm {

Tensor dropout(const Tensor& x, const DropoutKey& key) {
    Tensor y = kernels::dropout(x, key);
    if (key.p == 0) return y;
    return record("dropout", std::move(y), {&x}, [&] {
        return [key, keys = Saved(key.row_keys)](Backward& b) {
            keys.get();  // throws if the keys were written to since
            b.add(0, kernels::dropout(b.dy(), key));
        };
    });
}

DERIVATIVE(dropout) {
    const std::vector<int64_t>& keys = p.list("row_keys");
    return dropout(in[0], {.p = p.f("p"),
                           .seed = static_cast<uint64_t>(p.i("seed")),
                           .purpose = purpose_hash("dropout.case"),
                           .step = static_cast<uint32_t>(p.i("step")),
                           .row_keys = Tensor::from(keys, {static_cast<int64_t>(keys.size())})});
}

}  // namespace wavllm
