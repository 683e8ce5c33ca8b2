#include "autograd/ops/embedding.h"

#include "autograd/derivative.h"
#include "autograd/tape.h"
#include "kernels/embedding/embedding.h"

namespace wavllm {

Tensor embedding(const Tensor& table, const Tensor& ids) {
    return record("embedding", kernels::embedding(table, ids), {&table}, [&] {
        return [ids = Saved(ids)](Backward& b) { kernels::embedding_backward(b.dy(), ids.get(), b.accumulate(0)); };
    });
}

DERIVATIVE(embedding) {
    return embedding(in[0], in[1]);
}

}  // namespace wavllm
