#pragma once

#include <string_view>

namespace wavllm {

/// The American spelling of a lower-case British word ("colour" -> "color"), or the word itself if the table of 1,738
/// words does not have it.
std::string_view american_spelling(std::string_view word);

}  // namespace wavllm
