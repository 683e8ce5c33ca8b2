#pragma once
// Small helpers for error messages that quote names and bytes from files of strangers.

#include <span>
#include <string>
#include <string_view>

namespace wavllm {

/// `text` fit for one line of a terminal: control bytes and invalid UTF-8 as \xNN, at most `limit` bytes of it, then an
/// ellipsis.
std::string printable(std::string_view text, size_t limit = 120);

/// The name of `known` with the smallest edit distance to `wanted` (the first of equals); empty if `known` is empty.
/// Names longer than 256 bytes are passed over: the cost stays bounded for hostile files.
std::string_view nearest_name(std::string_view wanted, std::span<const std::string> known);

/// Length in bytes of the well-formed UTF-8 character at the start of `text` (1 to 4), or 0 if it is malformed or cut
/// off (Unicode 15, table 3-7: no overlong forms, no surrogates).
size_t utf8_length(std::string_view text);

/// How many bytes a decoder replaces by one U+FFFD where utf8_length is 0: the longest prefix of `text` that begins a
/// well-formed character, at least 1 ("maximal subpart", Unicode 15, section 3.9).
size_t utf8_broken_length(std::string_view text);

/// Whether all of `text` is a beginning of one well-formed character that more bytes could complete.
bool utf8_may_continue(std::string_view text);

/// `text` with each malformed stretch replaced by U+FFFD, as above.
std::string valid_utf8(std::string_view text);

}  // namespace wavllm
