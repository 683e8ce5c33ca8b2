// The progress bar where stderr is no terminal. Witness: lines written by hand.

#include "data/progress.h"

#include <doctest/doctest.h>

#include <cstdio>

#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

/// What `use` makes a bar print into a file.
template <class F>
std::string printed(int64_t total, const char* unit, F&& use) {
    const TempFolder folder;
    std::FILE* out = std::fopen((folder / "out").c_str(), "w");
    REQUIRE(out != nullptr);
    {
        Progress bar("job", total, unit, out);
        use(bar);
    }
    std::fclose(out);
    return read_all(folder / "out");
}

}  // namespace

TEST_CASE("progress: away from a terminal a short job is one plain line") {
    const std::string text = printed(1000, "clips", [](Progress& bar) {
        for (int i = 0; i <= 1000; ++i) bar.update(i, "loss 1.5");
        bar.finish();
    });
    CHECK(text.starts_with("job 100 %  1000/1000 clips  "));
    CHECK(text.ends_with("in 0:00  loss 1.5\n"));
    CHECK(std::count(text.begin(), text.end(), '\n') == 1);
    CHECK(text.find('\r') == std::string::npos);
}

TEST_CASE("progress: bytes, and totals that are not known") {
    CHECK(printed(145217532, "B", [](Progress& bar) {
              bar.update(66100000);
              bar.finish("whisper");
          }).starts_with("job  45 %  66.1/145.2 MB  "));
    const std::string open = printed(0, "steps", [](Progress& bar) {
        bar.update(7);
        bar.finish();
    });
    CHECK(open.starts_with("job 7 steps  "));
    CHECK(open.find('%') == std::string::npos);
}

TEST_CASE("progress: what was never begun or never finished prints nothing") {
    CHECK(printed(10, "steps", [](Progress& bar) { bar.finish(); }).empty());
    CHECK(printed(10, "steps", [](Progress& bar) { bar.update(3); }).empty());
}

TEST_CASE("progress: durations and sizes") {
    CHECK(format_duration(7.4) == "0:07");
    CHECK(format_duration(750) == "12:30");
    CHECK(format_duration(11100) == "3:05:00");
    CHECK(format_duration(-1) == "0:00");
    CHECK(format_bytes(999) == "999 B");
    CHECK(format_bytes(98362432) == "98.4 MB");
    CHECK(format_bytes(2.5e9) == "2.5 GB");
}
