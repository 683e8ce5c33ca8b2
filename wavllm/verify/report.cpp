#include "wavllm/verify/report.h"

#include <cmath>

namespace wavllm::verify {

namespace {

const char* name_of(Status s) {
    switch (s) {
        case Status::passed: return "passed";
        case Status::failed: return "failed";
        case Status::input: return "input";
        case Status::not_built: return "not built yet";
    }
    return "";
}

std::string result_of(const Line& l) {
    if (l.status == Status::not_built) return "not built yet: " + l.note;
    if (l.status == Status::input) return "input";
    const bool compared = l.note.empty() || l.error != 0;
    std::string note = l.note.empty() ? "" : (compared ? "  " : "") + l.note;
    if (!compared) return note;
    if (l.exact) return fmt::format("{} differ / 0{}", l.error, note);
    return fmt::format("{:.1e} / {:.1e}{}", l.error, l.tolerance, note);
}

}  // namespace

std::string text_of(const Line& l) {
    const char* mark = l.status == Status::passed ? "ok  " : l.status == Status::failed ? "FAIL" : "----";
    return fmt::format("{}  {}  {}  {}{}", mark, l.file, l.name, result_of(l),
                       l.what.empty() ? "" : "  (" + l.what + ")");
}

std::string text_of(const Report& report) {
    std::string text;
    for (const Line& l : report.lines) text += text_of(l) + "\n";
    for (const std::string& b : report.broken) text += "FAIL  " + b + "\n";
    if (report.lines.empty()) text += "nothing to compare\n";
    return text + fmt::format("{} passed, {} failed, {} not built yet\n", report.count(Status::passed),
                              report.count(Status::failed) + report.broken.size(), report.count(Status::not_built));
}

nlohmann::json json_of(const Report& report) {
    nlohmann::json lines = nlohmann::json::array();
    for (const Line& l : report.lines) {
        nlohmann::json j{{"file", l.file}, {"name", l.name}, {"status", name_of(l.status)}, {"what", l.what}};
        if (l.status == Status::passed || l.status == Status::failed) {
            j["error"] = std::isfinite(l.error) ? nlohmann::json(l.error) : nlohmann::json();
            j["tolerance"] = l.tolerance;
        }
        if (!l.note.empty()) j["note"] = l.note;
        lines.push_back(std::move(j));
    }
    return {{"passed", report.count(Status::passed)},
            {"failed", report.count(Status::failed) + report.broken.size()},
            {"not_built", report.count(Status::not_built)},
            {"broken", report.broken},
            {"values", std::move(lines)}};
}

}  // namespace wavllm::verify
