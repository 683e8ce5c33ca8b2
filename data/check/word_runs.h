#pragma once
// Runs of four words, by which a text that stands in two splits is found although it is cut or continued differently.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace wavllm {

constexpr size_t kRunWords = 4;

/// The words of a text for comparison: letters of ASCII in lower case, digits and inner apostrophes belong to words, all
/// bytes above 127 too; everything else separates.
std::vector<std::string> comparison_words(std::string_view text);

/// The words of a text joined by blanks: "forty-two line Bible," gives "forty two line bible".
std::string plain_text(std::string_view text);

/// All runs of four words of some texts. Runs are kept as 64-bit hashes: among a million of them the chance that any
/// two differ and collide is 3e-8.
class WordRuns {
public:
    /// owner: what find() gives back, the number of a row, say. The first owner of a run stays.
    void add(std::string_view text, int64_t owner = 0);

    struct Hit {
        int64_t owner = 0;
        std::string run;  ///< the four words
    };
    /// The first run of `text` that is here.
    std::optional<Hit> find(std::string_view text) const;
    bool empty() const {
        return owners_.empty();
    }

private:
    std::unordered_map<uint64_t, int64_t> owners_;
};

}  // namespace wavllm
