#pragma once
// The checks of `wavllm verify` as test cases.

#include <doctest/doctest.h>

#include "tests/support/shared.h"
#include "wavllm/verify/report.h"
#include "wavllm/verify/verify.h"

namespace wavllm::tests {

inline verify::Options golden_options(const std::filesystem::path& golden, const std::string& only = "") {
    return {.golden = golden,
            .data = shared("data"),
            .sources = std::filesystem::path(WAVLLM_SOURCE_DIR) / "presets" / "sources.json",
            .only = only};
}

inline verify::Report verify_only(const std::filesystem::path& golden, const std::string& only) {
    return verify::run(golden_options(golden, only));
}

/// All lines but the given number, which wait for parts not built yet, are passed (or inputs).
inline void check_passed(const verify::Report& report, size_t not_built) {
    for (const verify::Line& l : report.lines) {
        const std::string text = verify::text_of(l);
        CHECK_MESSAGE(l.status != verify::Status::failed, text);
    }
    CHECK(report.broken.empty());
    CHECK(report.passed());
    CHECK(report.count(verify::Status::not_built) == not_built);
}

}  // namespace wavllm::tests
