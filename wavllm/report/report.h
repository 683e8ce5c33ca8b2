#pragma once
// The report of a run: one HTML page that needs nothing but itself, made from what the run left in its folder
// (train/run_folder.h, train/record.h). It may be made at any time, of a run that goes on or was killed.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace wavllm {

/// Everything the page shows. What depends on the machine stands under "machine"; the rest is the same for the same
/// configuration, data and step. Throws UsageError if the folder holds no run.
nlohmann::ordered_json report_data(const std::filesystem::path& run);
/// The page for it. Text of the data cannot become HTML, whatever it is.
std::string report_page(const nlohmann::ordered_json& data);
/// Writes <run>/report.html and returns its path.
std::filesystem::path write_report(const std::filesystem::path& run);

/// The commit this program was built from; empty if that is not known.
std::string built_commit();

}  // namespace wavllm
