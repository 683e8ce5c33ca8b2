#include "tensor/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace wavllm {

namespace {

/// Length of the character that a lead byte announces, and the allowed range of the byte after it.
struct Lead {
    size_t length;
    uint8_t low;
    uint8_t high;
};

Lead lead_of(uint8_t byte) {
    if (byte < 0x80) return {1, 0, 0};
    if (byte >= 0xC2 && byte <= 0xDF) return {2, 0x80, 0xBF};
    if (byte == 0xE0) return {3, 0xA0, 0xBF};
    if (byte == 0xED) return {3, 0x80, 0x9F};
    if (byte >= 0xE1 && byte <= 0xEF) return {3, 0x80, 0xBF};
    if (byte == 0xF0) return {4, 0x90, 0xBF};
    if (byte >= 0xF1 && byte <= 0xF3) return {4, 0x80, 0xBF};
    if (byte == 0xF4) return {4, 0x80, 0x8F};
    return {0, 0, 0};
}

/// Bytes of `text` that form a beginning of one well-formed character, and that character's full length.
std::pair<size_t, size_t> matched(std::string_view text) {
    if (text.empty()) return {0, 0};
    const Lead lead = lead_of(static_cast<uint8_t>(text[0]));
    if (lead.length == 0) return {0, 0};
    size_t good = 1;
    while (good < lead.length && good < text.size()) {
        const auto byte = static_cast<uint8_t>(text[good]);
        const uint8_t low = good == 1 ? lead.low : 0x80;
        const uint8_t high = good == 1 ? lead.high : 0xBF;
        if (byte < low || byte > high) break;
        ++good;
    }
    return {good, lead.length};
}

size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < a.size(); ++i) {
        size_t diagonal = row[0]++;
        for (size_t j = 0; j < b.size(); ++j) {
            const size_t change = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = std::min({row[j] + 1, diagonal + 1, change});
        }
    }
    return row.back();
}

}  // namespace

size_t utf8_length(std::string_view text) {
    const auto [good, length] = matched(text);
    return good == length ? length : 0;
}

size_t utf8_broken_length(std::string_view text) {
    return std::max<size_t>(1, matched(text).first);
}

bool utf8_may_continue(std::string_view text) {
    const auto [good, length] = matched(text);
    return good == text.size() && good < length;
}

std::string valid_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        size_t length = utf8_length(text);
        if (length > 0) {
            out += text.substr(0, length);
        } else {
            length = utf8_broken_length(text);
            out += "\xEF\xBF\xBD";
        }
        text.remove_prefix(length);
    }
    return out;
}

std::string printable(std::string_view text, size_t limit) {
    std::string out;
    size_t at = 0;
    while (at < text.size() && at < limit) {
        const auto byte = static_cast<uint8_t>(text[at]);
        const size_t length = utf8_length(text.substr(at));
        // C1 controls (U+0080 to U+009F) are commands to some terminals too
        const bool control =
            byte < 0x20 || byte == 0x7F || (byte == 0xC2 && length == 2 && uint8_t(text[at + 1]) < 0xA0);
        if (length == 0 || control) {
            out += fmt::format("\\x{:02x}", byte);
            ++at;
        } else {
            out += text.substr(at, length);
            at += length;
        }
    }
    if (at < text.size()) out += "…";
    return out;
}

std::string_view nearest_name(std::string_view wanted, std::span<const std::string> known) {
    constexpr size_t kLongest = 256;
    wanted = wanted.substr(0, kLongest);
    std::string_view best;
    size_t best_distance = SIZE_MAX;
    for (const std::string& candidate : known) {
        if (candidate.size() > kLongest) continue;
        const size_t shortest_possible =
            wanted.size() > candidate.size() ? wanted.size() - candidate.size() : candidate.size() - wanted.size();
        if (shortest_possible >= best_distance) continue;
        const size_t distance = edit_distance(wanted, candidate);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

}  // namespace wavllm
