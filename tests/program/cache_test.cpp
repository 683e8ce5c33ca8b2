// `wavllm data cache` from outside. Witness: the manifest's rows and lengths; the files in the folder.

#include <doctest/doctest.h>
#include <stdlib.h>

#include <nlohmann/json.hpp>

#include "models/download.h"
#include "tests/program/program.h"
#include "tests/support/real_models.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace fs = std::filesystem;

namespace {

/// A cache folder of its own, with the models of the usual one. Its life is the test's.
class OwnCache {
public:
    OwnCache() {
        for (const char* role : {"model", "config", "tokenizer", "vocabulary"}) real_model("whisper-base", role);
        real_model("smollm2-135m-instruct-q4_1");
        for (const auto& entry : fs::directory_iterator(cache_folder()))
            if (entry.is_regular_file()) fs::create_symlink(entry.path(), folder_.path() / entry.path().filename());
        if (const char* before = ::getenv("WAVLLM_CACHE")) before_ = before;
        ::setenv("WAVLLM_CACHE", folder_.path().c_str(), 1);
    }
    ~OwnCache() {
        if (before_.empty())
            ::unsetenv("WAVLLM_CACHE");
        else
            ::setenv("WAVLLM_CACHE", before_.c_str(), 1);
    }
    OwnCache(const OwnCache&) = delete;
    OwnCache& operator=(const OwnCache&) = delete;

    size_t files() const {
        size_t count = 0;
        for (const auto& entry : fs::recursive_directory_iterator(folder_.path() / "features"))
            count += entry.path().extension() == ".features" ? 1 : 0;
        return count;
    }

private:
    TempFolder folder_;
    std::string before_;
};

}  // namespace

TEST_CASE("program: data cache encodes what is missing, says what it did, and has nothing to do the second time") {
    const OwnCache cache;
    const TempFolder folder;
    const fs::path digits = fs::path(WAVLLM_SOURCE_DIR) / "samples" / "digits_test.tsv";
    std::ifstream all(digits);
    std::string few, line;
    for (int i = 0; i < 4 && std::getline(all, line); ++i) {
        const size_t audio = line.find("digits/");  // relative to the manifest that it came from
        if (audio != std::string::npos) line.insert(audio, digits.parent_path().string() + "/");
        few += line + "\n";
    }
    const std::string manifest = folder.write("few.tsv", few);
    const std::vector<std::string> command{"data", "cache", "--manifest", manifest, "--json", "-"};
    const ProgramResult first = run_program(command);
    CAPTURE(first.err);
    REQUIRE(first.code == 0);
    const auto made = nlohmann::json::parse(first.out);
    CHECK(made.at("clips") == 3);
    CHECK(made.at("found") == 0);
    CHECK(made.at("encoded_seconds").get<double>() == made.at("seconds").get<double>());
    CHECK(cache.files() == 3);
    const auto found = nlohmann::json::parse(run_program(command).out);
    CHECK(found.at("found") == 3);
    CHECK(found.at("encoded_seconds") == 0);
    CHECK(found.at("seconds") == made.at("seconds"));
    CHECK(found.at("bytes") == made.at("bytes"));
    CHECK(cache.files() == 3);
}
