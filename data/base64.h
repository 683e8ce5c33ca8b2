#pragma once
// Base64 (RFC 4648, section 4): bytes inside JSON and HTML.

#include <string>
#include <string_view>

namespace wavllm {

std::string base64(std::string_view bytes);

}  // namespace wavllm
