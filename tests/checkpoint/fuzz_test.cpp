// Witness: none needed; whatever the bytes, a reader ends with a checkpoint whose tensors can be read, or FileError.
// The full strength is under the address and undefined-behaviour sanitizers (preset asan).

#include <doctest/doctest.h>

#include <random>

#include "models/checkpoint/checkpoint.h"
#include "tensor/error.h"
#include "tests/checkpoint/small_files.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

std::string mutated(std::string text, std::mt19937& random) {
    const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
    static const uint64_t kNasty[] = {0,          1,          0x7F,       0xFF,  0x7FFF,    0xFFFF,
                                      0x7FFFFFFF, 0xFFFFFFFF, 1ull << 62, ~0ull, 1ull << 63};
    for (size_t changes = 1 + below(4); changes > 0; --changes) {
        if (text.empty()) return text;
        const size_t at = below(text.size());
        switch (below(6)) {
            case 0: text[at] = static_cast<char>(below(256)); break;
            case 1: text[at] = static_cast<char>(text[at] ^ (1 << below(8))); break;
            case 2: text.resize(at); break;
            case 3: {
                const uint64_t value = kNasty[below(std::size(kNasty))];
                const size_t width = std::min<size_t>(size_t{1} << below(4), text.size() - at);
                std::memcpy(text.data() + at, &value, width);
                break;
            }
            case 4: text.insert(at, text.substr(below(text.size()), below(40))); break;
            case 5: text.erase(at, below(12)); break;
        }
    }
    return text;
}

/// Returns whether the file was accepted; anything but FileError fails the test.
bool survives(const std::filesystem::path& path) {
    try {
        const auto file = open_checkpoint(path);
        size_t sum = 0;
        for (const StoredTensor& tensor : file->tensors()) {
            CHECK(tensor.bytes.size() <= std::filesystem::file_size(path));
            for (const std::byte byte : tensor.bytes) sum += static_cast<size_t>(byte);
        }
        file->metadata().dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
        return sum < SIZE_MAX;
    } catch (const FileError& error) {
        CHECK(std::string_view(error.what()).find('\n') == std::string_view::npos);
        return false;
    }
}

}  // namespace

TEST_CASE("readers survive thousands of damaged files of every format") {
    TempFolder folder;
    const std::string seeds[] = {small_gguf(), small_ctranslate2(), small_safetensors()};
    for (const std::string& seed : seeds) {
        std::mt19937 random(20240404);
        const auto path = folder.write("seed", seed);
        CHECK(survives(path));
        int accepted = 0;
        constexpr int kFiles = 3000;
        for (int i = 0; i < kFiles; ++i) accepted += survives(folder.write("mutant", mutated(seed, random)));
        // if none or all got through, the mutations would test nothing
        CHECK(accepted > 0);
        CHECK(accepted < kFiles);
    }
}
