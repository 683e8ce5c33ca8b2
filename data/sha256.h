#pragma once
// SHA-256 (FIPS 180-4), by OpenSSL.

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace wavllm {

/// The digest of bytes that come in pieces, as 64 lower-case hexadecimal digits.
class Sha256 {
public:
    Sha256();
    void update(std::span<const std::byte> bytes);
    /// To be called once, last.
    std::string hex();

private:
    struct Free {
        void operator()(void* context) const;
    };
    std::unique_ptr<void, Free> context_;
};

std::string sha256_bytes(std::span<const std::byte> bytes);

}  // namespace wavllm
