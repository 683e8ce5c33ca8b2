#include "data/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "tensor/error.h"

namespace wavllm {

namespace {

void require(int openssl_result) {
    if (openssl_result != 1) throw Error("OpenSSL cannot compute SHA-256 on this machine");
}

EVP_MD_CTX* context(void* pointer) {
    return static_cast<EVP_MD_CTX*>(pointer);
}

}  // namespace

void Sha256::Free::operator()(void* pointer) const {
    EVP_MD_CTX_free(context(pointer));
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
    require(context_ != nullptr);
    require(EVP_DigestInit_ex(context(context_.get()), EVP_sha256(), nullptr));
}

void Sha256::update(std::span<const std::byte> bytes) {
    require(EVP_DigestUpdate(context(context_.get()), bytes.data(), bytes.size()));
}

std::string Sha256::hex() {
    std::array<unsigned char, 32> digest{};
    require(EVP_DigestFinal_ex(context(context_.get()), digest.data(), nullptr));
    std::string text;
    for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
    return text;
}

std::string sha256_bytes(std::span<const std::byte> bytes) {
    Sha256 digest;
    digest.update(bytes);
    return digest.hex();
}

}  // namespace wavllm
