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
    std::vector<RenamedTensor> all;
    for (const StoredTensor& t : checkpoint.tensors()) all.push_back({t.name, &t});
    return weights_identity(std::move(all));
}

std::string weights_identity(std::vector<RenamedTensor> tensors) {
    std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    Sha256 digest;
    for (const RenamedTensor& r : tensors) {
        const StoredTensor& t = *r.tensor;
        add(digest, fmt::format("{} {} {} [{}]\n", r.name.size(), r.name, name(t.dtype), fmt::join(t.shape, ", ")));
        std::vector<std::byte> own;
        if (r.bytes) own = r.bytes();
        const std::span<const std::byte> bytes = r.bytes ? std::span<const std::byte>(own) : t.bytes;
        const size_t size = bytes.size();
        if (size <= kWindow * kWindows) {
            digest.update(bytes);
            continue;
        }
        for (size_t i = 0; i < kWindows; ++i)
            digest.update(bytes.subspan(i + 1 == kWindows ? size - kWindow : size / kWindows * i, kWindow));
    }
    return digest.hex();
}

}  // namespace wavllm
