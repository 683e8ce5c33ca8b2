#include "wavllm/report/report.h"

#include "models/sha256.h"
#include "tensor/atomic_file.h"
#include "tensor/error.h"
#include "wavllm/report/sections.h"

namespace wavllm {

namespace fs = std::filesystem;

namespace detail {
extern const char* const kReportPage;  // page/ with its style and scripts, by embed.cmake
extern const char* const kCommit;      // by commit.cmake
}  // namespace detail

namespace {

Json hashes(const RunFiles& run) {
    Json list = run.base.value("files", Json::array());
    const fs::path adapter = run.path / "adapter.safetensors";
    if (fs::exists(adapter))
        list.push_back({{"what", "adapter"}, {"name", "adapter.safetensors"}, {"sha256", sha256_file(adapter)}});
    return list;
}

}  // namespace

Json report_data(const fs::path& folder) {
    const RunFiles run = RunFiles::read(folder);
    const Preset& p = run.preset;
    Json attention = run.attention;
    Json shown_examples = examples(run, attention);
    Json points = validation_points(run), sums = totals(run);
    const int64_t steps = sums["steps"], total = p.total_steps();
    return {{"name", p.name},
            {"sentence", sentence(p)},
            {"complete", steps == total && fs::exists(folder / "adapter.safetensors")},
            {"steps_total", total},
            {"totals", sums},
            {"figures", figures(run, points)},
            {"stages", stages(p)},
            {"train", training_columns(run)},
            {"valid", points},
            {"examples", shown_examples},
            {"attention", attention},
            {"config", p.to_json()},
            {"additions", additions(p)},
            {"seeds", {{"train.seed", p.train.seed}}},
            {"hashes", hashes(run)},
            {"machine", machine(run)}};
}

std::string report_page(const Json& data) {
    std::string text = data.dump(-1, ' ', false, Json::error_handler_t::replace), safe;
    // Inside <script> only "<" can begin something; as \u003c it is the same JSON.
    for (char c : text) c == '<' ? safe += "\\u003c" : safe += c;
    std::string page = detail::kReportPage;
    constexpr std::string_view kPlace = "/*DATA*/";
    const size_t at = page.find(kPlace);
    if (at == std::string::npos) throw Error("report: its page has no place for the data");
    page.replace(at, kPlace.size(), safe);
    return page;
}

fs::path write_report(const fs::path& run) {
    fs::path path = run / "report.html";
    write_file_atomically(path, report_page(report_data(run)));
    return path;
}

std::string built_commit() {
    return detail::kCommit;
}

}  // namespace wavllm
