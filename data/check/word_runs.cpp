#include "data/check/word_runs.h"

#include <cctype>

namespace wavllm {

namespace {

constexpr uint64_t kFnvStart = 14695981039346656037U, kFnvPrime = 1099511628211U;

uint64_t run_hash(std::span<const std::string> words) {
    uint64_t h = kFnvStart;
    for (const std::string& w : words) {
        for (const char c : w) h = (h ^ static_cast<uint8_t>(c)) * kFnvPrime;
        h = (h ^ ' ') * kFnvPrime;
    }
    return h;
}

bool in_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || static_cast<unsigned char>(c) > 127;
}

}  // namespace

std::vector<std::string> comparison_words(std::string_view text) {
    std::vector<std::string> words;
    bool open = false;
    for (size_t i = 0; i < text.size(); ++i) {
        const bool apostrophe = text[i] == '\'' && open && i + 1 < text.size() && in_word(text[i + 1]);
        if (!in_word(text[i]) && !apostrophe) {
            open = false;
            continue;
        }
        if (!open) words.emplace_back();
        open = true;
        words.back() += text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] - 'A' + 'a') : text[i];
    }
    return words;
}

std::string plain_text(std::string_view text) {
    std::string out;
    for (const std::string& w : comparison_words(text)) out += (out.empty() ? "" : " ") + w;
    return out;
}

void WordRuns::add(std::string_view text, int64_t owner) {
    const std::vector<std::string> words = comparison_words(text);
    for (size_t i = 0; i + kRunWords <= words.size(); ++i)
        owners_.emplace(run_hash(std::span(words).subspan(i, kRunWords)), owner);
}

std::optional<WordRuns::Hit> WordRuns::find(std::string_view text) const {
    if (empty()) return std::nullopt;
    const std::vector<std::string> words = comparison_words(text);
    for (size_t i = 0; i + kRunWords <= words.size(); ++i) {
        const auto found = owners_.find(run_hash(std::span(words).subspan(i, kRunWords)));
        if (found == owners_.end()) continue;
        Hit hit{found->second, {}};
        for (size_t k = i; k < i + kRunWords; ++k) hit.run += (k == i ? "" : " ") + words[k];
        return hit;
    }
    return std::nullopt;
}

}  // namespace wavllm
