// The rules of the tree itself: imports only go down between floors, and files are short.

#include <doctest/doctest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tensor/error.h"

namespace {

namespace fs = std::filesystem;

// What each floor may include besides itself. data computes features with kernels and knows no gradients; train decodes
// with infer to validate, and infer never needs train; tests and bench look at everything, nothing looks at them.
const std::map<std::string, std::set<std::string>> may_include{
    {"tensor", {}},
    {"kernels", {"tensor"}},
    {"autograd", {"tensor", "kernels"}},
    {"data", {"tensor", "kernels"}},
    {"models", {"tensor", "kernels", "autograd", "data"}},
    {"infer", {"tensor", "kernels", "autograd", "data", "models"}},
    {"train", {"tensor", "kernels", "autograd", "data", "models", "infer"}},
    {"wavllm", {"tensor", "kernels", "autograd", "data", "models", "infer", "train"}},
    {"tests", {"tensor", "kernels", "autograd", "data", "models", "infer", "train", "wavllm"}},
    {"bench", {"tensor", "kernels", "autograd", "data", "models", "infer", "train", "wavllm"}},
};

constexpr int longest_file = 600;

// Files that are tables rather than something to read, with the reason.
const std::map<std::string, std::string> data_files{};

bool is_source(const fs::path& path) {
    static const std::set<std::string> extensions{".h", ".cpp", ".cu", ".cuh"};
    return extensions.count(path.extension().string()) > 0;
}

/// Breaches of the rules in one file, each as "path:line: what". path is relative to the repository.
std::vector<std::string> breaches(const std::string& path, std::istream& text) {
    static const std::regex include(R"(^\s*#\s*include\s*([<"])([^">]+)[">].*)");
    const std::string floor = path.substr(0, path.find('/'));
    std::vector<std::string> found;
    std::string line;
    int number = 0;
    while (std::getline(text, line)) {
        ++number;
        std::smatch match;
        if (line.find("include") == std::string::npos || !std::regex_match(line, match, include)) continue;
        const std::string target = match[2];
        const std::string from = target.substr(0, target.find('/'));
        const bool ours = target.find('/') != std::string::npos && may_include.count(from) > 0;
        if (!ours && match[1] == "<") continue;
        if (!ours)
            found.push_back(fmt::format("{}:{}: \"{}\" does not start at the repository's root", path, number, target));
        else if (from != floor && may_include.at(floor).count(from) == 0)
            found.push_back(fmt::format("{}:{}: {} may not include {} (\"{}\")", path, number, floor, from, target));
    }
    if (number > longest_file && data_files.count(path) == 0)
        found.push_back(fmt::format("{}:{}: longer than {} lines; split it", path, number, longest_file));
    return found;
}

std::vector<std::string> breaches(const std::string& path, const std::string& text) {
    std::istringstream stream(text);
    return breaches(path, stream);
}

}  // namespace

TEST_SUITE_BEGIN("floors");

TEST_CASE("floors: every include of the tree goes down, and no file is too long") {
    const fs::path root = WAVLLM_SOURCE_DIR;
    for (const auto& [floor, allowed] : may_include) {
        if (floor == "bench" && !fs::exists(root / floor)) continue;
        int files = 0;
        for (const auto& entry : fs::recursive_directory_iterator(root / floor)) {
            if (!entry.is_regular_file() || !is_source(entry.path())) continue;
            ++files;
            std::ifstream file(entry.path());
            REQUIRE_MESSAGE(file.good(), entry.path().string());
            for (const std::string& breach : breaches(fs::relative(entry.path(), root).generic_string(), file))
                FAIL_CHECK(breach);
        }
        // A floor without sources means that a folder was renamed and this test looks at nothing.
        if (floor != "bench") CHECK_MESSAGE(files > 0, floor);
    }
}

// Witness: hand-written violations, one of each kind.
TEST_CASE("floors: the check finds what it is for") {
    CHECK(breaches("models/a.cpp", "#include \"kernels/add/add.h\"\n#include <vector>\n").empty());
    CHECK(breaches("train/a.cpp", "#include \"infer/wer.h\"\n").empty());
    CHECK(breaches("kernels/a.h", "// #include \"train/trainer.h\"\n").empty());
    CHECK(breaches("kernels/a.h", "\n#include \"autograd/tape.h\"\n") ==
          std::vector<std::string>{"kernels/a.h:2: kernels may not include autograd (\"autograd/tape.h\")"});
    CHECK(breaches("infer/a.h", "#  include <train/trainer.h> // why\n").size() == 1);
    CHECK(breaches("data/a.cpp", "#include \"autograd/tape.h\"\n").size() == 1);
    CHECK(breaches("wavllm/a.cpp", "#include \"tests/support/shared.h\"\n").size() == 1);
    CHECK(breaches("tensor/a.cpp", "#include \"dtype.h\"\n").size() == 1);
    CHECK(breaches("tensor/a.cpp", "#include \"../tensor/dtype.h\"\n").size() == 1);
    CHECK(breaches("tensor/a.cpp", std::string(600, '\n')).empty());
    CHECK(breaches("tensor/a.cpp", std::string(601, '\n')).size() == 1);
}

TEST_SUITE_END();
