#include "models/checkpoint/identity.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/sha256.h"

namespace wavllm {

namespace {

constexpr size_t kWindow = 4096, kWindows = 16;

void add(Sha256& digest, const std::string& text) {
    digest.update(std::as_bytes(std::span(text)));
}

}  // namespace

std::string weights_identity(const Checkpoint& checkpoint) {
    std::vector<const StoredTensor*> order;
    for (const StoredTensor& t : checkpoint.tensors()) order.push_back(&t);
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->name < b->name; });
    Sha256 digest;
    for (const StoredTensor* t : order) {
        add(digest, fmt::format("{} {} {} [{}]\n", t->name.size(), t->name, name(t->dtype), fmt::join(t->shape, ", ")));
        const size_t size = t->bytes.size();
        if (size <= kWindow * kWindows) {
            digest.update(t->bytes);
            continue;
        }
        for (size_t i = 0; i < kWindows; ++i)
            digest.update(t->bytes.subspan(i + 1 == kWindows ? size - kWindow : size / kWindows * i, kWindow));
    }
    return digest.hex();
}

}  // namespace wavllm
