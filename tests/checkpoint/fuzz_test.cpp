// Witness: none needed; whatever the bytes, a reader ends with a checkpoint whose tensors can be read, or FileError.
// The full strength is under the address and undefined-behaviour sanitizers (preset asan).

#include <doctest/doctest.h>

#include <random>

#include "models/checkpoint/checkpoint.h"
#include "models/checkpoint/gguf_tokenizer.h"
#include "models/checkpoint/gguf_writer.h"
#include "models/convert/gguf.h"
#include "tensor/error.h"
#include "tests/checkpoint/llama_folder.h"
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

TEST_CASE("damaged vocabularies in GGUF give a tokenizer or an error") {
    TempFolder folder;
    GgufMetadata m;
    m.put_text("tokenizer.ggml.model", "llama");
    m.put_texts("tokenizer.ggml.tokens",
                std::vector<std::string>{"<unk>", "<s>", "</s>", "\xE2\x96\x81", "a", "b", "ab",
                                         "\xE2\x96\x81"
                                         "ab"});
    m.put_f32s("tokenizer.ggml.scores", std::vector<float>{0, 0, 0, -3, -4, -5, -1, -2});
    m.put_i32s("tokenizer.ggml.token_type", std::vector<int32_t>{2, 3, 3, 1, 1, 1, 1, 1});
    m.put_u32("tokenizer.ggml.bos_token_id", 1);
    m.put_u32("tokenizer.ggml.eos_token_id", 2);
    m.put_bool("tokenizer.ggml.add_space_prefix", true);
    write_gguf_streamed(folder / "seed", m, {});
    CHECK(tokenizer_from_gguf(*open_checkpoint(folder / "seed"))->encode("ab b") == std::vector<int32_t>{7, 3, 5});
    const std::string seed = read_all(folder / "seed");
    std::mt19937 random(20240405);
    int accepted = 0;
    constexpr int kFiles = 3000;
    for (int i = 0; i < kFiles; ++i) {
        folder.write("mutant", mutated(seed, random));
        try {
            const auto tokenizer = tokenizer_from_gguf(*open_checkpoint(folder / "mutant"));
            tokenizer->decode(tokenizer->encode("ab b \xF0\x9F\x99\x82"), true);
            for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) tokenizer->token_bytes(id);
            ++accepted;
        } catch (const FileError& error) {
            CHECK(std::string_view(error.what()).find('\n') == std::string_view::npos);
        }
    }
    CHECK(accepted > 0);
    CHECK(accepted < kFiles);
}

TEST_CASE("damaged GGUF files are quantised again or refused") {
    TempFolder folder;
    const ConvertOptions options{.naming = LlamaNaming::gguf, .dtype = DType::q4_0, .heads = 4, .kv_heads = 2};
    const auto convert = [&](const std::filesystem::path& from, const std::filesystem::path& to) {
        const auto source = open_checkpoint(from);
        const Plan plan = plan_conversion(*source, options);
        write_gguf_file(to, gguf_metadata(*source, options, plan), streamed(*source, plan), {});
    };
    write_llama_folder(folder / "hf", block_llama_config(), true);
    convert(folder / "hf", folder / "seed");
    const std::string seed = read_all(folder / "seed");
    constexpr size_t kHeader = 7000;  // metadata and tensor table
    std::mt19937 random(20240406);
    int accepted = 0;
    constexpr int kFiles = 400;
    for (int i = 0; i < kFiles; ++i) {
        folder.write("mutant", mutated(seed.substr(0, kHeader), random) + seed.substr(kHeader));
        try {
            convert(folder / "mutant", folder / "out");
            ++accepted;
        } catch (const Error& error) {
            CHECK(std::string_view(error.what()).find('\n') == std::string_view::npos);
        }
    }
    CHECK(accepted > 0);
    CHECK(accepted < kFiles);
}
