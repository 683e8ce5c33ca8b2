#pragma once
// A SHA-256 over a model's configuration and weights, as they are held.

#include "kernels/conv1d/conv1d.h"
#include "models/sha256.h"

namespace wavllm {

class Fingerprint {
public:
    template <class... T>
    void numbers(T... values) {
        std::string text;
        ((text += fmt::format("{} ", values)), ...);
        digest_.update(std::as_bytes(std::span(text)));
    }
    void add(const Tensor& t) {
        numbers(t.shape().str(), name(t.dtype()));
        bytes(t);
    }
    void add(const PackedWeight& w) {
        numbers(w.out_features(), w.in_features(), name(w.dtype()));
        bytes(w.stored());
    }
    void add(const PackedConv& w) {
        numbers(w.taps);
        add(w.weight);
    }
    std::string hex() {
        return digest_.hex();
    }

private:
    void bytes(const Tensor& t) {
        const Tensor here = t.to(Device::cpu);
        digest_.update({static_cast<const std::byte*>(here.raw()), here.bytes()});
    }

    Sha256 digest_;
};

}  // namespace wavllm
