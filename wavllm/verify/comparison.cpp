#include "wavllm/verify/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace wavllm::verify {

size_t Report::count(Status status) const {
    return static_cast<size_t>(
        std::count_if(lines.begin(), lines.end(), [&](const Line& l) { return l.status == status; }));
}

bool Report::passed() const {
    return broken.empty() && count(Status::failed) == 0 && count(Status::passed) > 0;
}

double worst_error(const Expected& expected, const Computed& got) {
    const std::vector<double> a = expected.value.values(), b = got.value.values();
    double worst = 0;
    bool any = a.empty();
    for (size_t i = 0; i < a.size(); ++i) {
        if (!got.elements.empty() && !got.elements[i]) continue;
        any = true;
        const double error = expected.exact() ? (a[i] != b[i] ? 1 : 0) : std::abs(a[i] - b[i]) / expected.scale;
        if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return std::numeric_limits<double>::quiet_NaN();
        worst = expected.exact() ? worst + error : std::max(worst, error);
    }
    return any ? worst : std::numeric_limits<double>::quiet_NaN();
}

void Comparison::expect(Expected e) {
    if (!index_.emplace(std::pair(e.file, e.name), entries_.size()).second)
        throw FileError("{}: \"{}\" is there twice", e.file, e.name);
    entries_.push_back({std::move(e), {}, false, {}});
}

Comparison::Entry* Comparison::find(const std::string& file, const std::string& name) {
    const auto it = index_.find({file, name});
    return it == index_.end() ? nullptr : &entries_[it->second];
}

const Comparison::Entry* Comparison::find(const std::string& file, const std::string& name) const {
    return const_cast<Comparison*>(this)->find(file, name);
}

void Comparison::input(const std::string& file, const std::string& name) {
    if (Entry* e = find(file, name)) e->input = true;
}

void Comparison::not_built(const std::string& file, const std::string& name, const std::string& part) {
    if (Entry* e = find(file, name)) e->waits_for = part;
}

void Comparison::allow(const std::string& file, const std::string& name, double error) {
    Entry* e = find(file, name);
    if (!e) return;
    e->expected.scale = 1;
    e->expected.tolerance = error;
}

void Comparison::computed(const std::string& file, const std::string& name, Computed c) {
    Entry* e = find(file, name);
    if (!e) return;
    c.value = c.value.to(Device::cpu);
    e->computed.push_back(std::move(c));
}

void Comparison::broke(const std::string& family, const std::string& message) {
    broken_.push_back(family + ": " + message);
}

const Tensor& Comparison::golden(const std::string& file, const std::string& name) const {
    const Entry* e = find(file, name);
    if (!e) throw FileError("the golden set lacks \"{}\" of {}; is it complete?", name, file);
    return e->expected.value;
}

bool Comparison::has(const std::string& file, const std::string& name) const {
    return find(file, name) != nullptr;
}

bool Comparison::selected(const Entry& e) const {
    return (e.expected.file + " " + e.expected.name).find(only_) != std::string::npos;
}

bool Comparison::wanted(const std::string& file_prefix, const std::string& name_prefix) const {
    return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) {
        return e.expected.file.starts_with(file_prefix) && e.expected.name.starts_with(name_prefix) && selected(e);
    });
}

std::vector<std::pair<std::string, std::string>> Comparison::names() const {
    std::vector<std::pair<std::string, std::string>> result;
    for (const Entry& e : entries_) result.emplace_back(e.expected.file, e.expected.name);
    return result;
}

Line Comparison::line(const Entry& e) const {
    Line l{Status::failed, e.expected.file, e.expected.name, e.expected.what};
    l.tolerance = e.expected.tolerance;
    l.exact = e.expected.exact();
    if (e.computed.empty()) {
        if (e.input) {
            l.status = Status::input;
        } else if (!e.waits_for.empty()) {
            l.status = Status::not_built;
            l.note = e.waits_for;
        } else {
            l.note = broken_.empty() ? "no rule says how to compute it" : "not computed";
        }
        return l;
    }
    std::string ways;
    bool good = true;
    for (const Computed& c : e.computed) {
        if (!c.how.empty()) ways += (ways.empty() ? "" : "; ") + c.how;
        if (!(c.value.shape() == e.expected.value.shape())) {
            good = false;
            l.error = std::numeric_limits<double>::quiet_NaN();
            l.note = fmt::format("{} instead of {}", c.value.shape().str(), e.expected.value.shape().str());
            continue;
        }
        const double error = worst_error(e.expected, c);
        good = good && error <= e.expected.tolerance;
        if (!std::isnan(l.error) && !(error <= l.error)) l.error = error;  // a NaN, once there, stays
    }
    if (good) l.status = Status::passed;
    if (!good && e.computed.size() > 1 && l.note.empty()) l.note = "worst of: " + ways;
    if (!ways.empty()) l.what += (l.what.empty() ? "from " : "; from ") + ways;
    return l;
}

Report Comparison::report() const {
    Report r;
    for (const Entry& e : entries_)
        if (selected(e)) r.lines.push_back(line(e));
    r.broken = broken_;
    return r;
}

std::vector<Comparison::Value> Comparison::values() const {
    std::vector<Value> result;
    for (const Entry& e : entries_)
        if (!e.computed.empty() && selected(e))
            result.push_back({e.expected.file, e.expected.name, e.computed.front().value});
    return result;
}

}  // namespace wavllm::verify
