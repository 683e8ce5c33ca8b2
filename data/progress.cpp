#include "data/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "tensor/text.h"

namespace wavllm {

namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kPlainLine = std::chrono::seconds(5);

struct ByteScale {
    double divisor;
    const char* unit;
};

ByteScale scale_for(double bytes) {
    if (bytes >= 1e9) return {1e9, "GB"};
    if (bytes >= 1e6) return {1e6, "MB"};
    if (bytes >= 1e3) return {1e3, "kB"};
    return {1, "B"};
}

size_t columns_of(std::FILE* out) {
    winsize size{};
    return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/// At most `limit` characters; a cut never falls into the middle of one.
std::string fitted(const std::string& line, size_t limit) {
    size_t bytes = 0;
    for (size_t shown = 0; bytes < line.size() && shown < limit; ++shown)
        bytes += std::max<size_t>(1, utf8_length(std::string_view(line).substr(bytes)));
    return line.substr(0, bytes);
}

}  // namespace

std::string format_duration(double seconds) {
    const auto s = static_cast<int64_t>(std::llround(std::max(0.0, seconds)));
    if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
    return fmt::format("{}:{:02}", s / 60, s % 60);
}

std::string format_bytes(double bytes) {
    const ByteScale scale = scale_for(bytes);
    return fmt::format("{:.{}f} {}", bytes / scale.divisor, scale.divisor == 1 ? 0 : 1, scale.unit);
}

Progress::Progress(std::string title, int64_t total, std::string unit, std::FILE* out)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      out_(out),
      terminal_(isatty(fileno(out)) != 0),
      begin_(Clock::now()),
      printed_(begin_) {}

Progress::~Progress() {
    if (open_) std::fputc('\n', out_);
}

void Progress::update(int64_t done, std::string_view note) {
    done_ = done;
    note_ = note;
    const auto now = Clock::now();
    // A job that ends within the first interval prints only its last line.
    if (now - printed_ < (terminal_ ? Clock::duration(kRedraw) : Clock::duration(kPlainLine))) {
        started_ = true;
        return;
    }
    started_ = true;
    printed_ = now;
    print(false);
}

void Progress::finish(std::string_view note) {
    if (!started_) return;
    if (!note.empty()) note_ = note;
    print(true);
    started_ = false;
}

void Progress::print(bool last) {
    const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
    const double rate = seconds > 0 ? static_cast<double>(done_ - first_) / seconds : 0;
    const bool bytes = unit_ == "B";
    std::string line = title_ + " ";
    if (total_ > 0) {
        const double share = std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0);
        if (terminal_) {
            constexpr int kWidth = 20;
            const int filled = static_cast<int>(share * kWidth);
            line += fmt::format("[{}{}] ", std::string(static_cast<size_t>(filled), '#'),
                                std::string(static_cast<size_t>(kWidth - filled), '-'));
        }
        line += fmt::format("{:3.0f} %  ", std::floor(share * 100));
    }
    if (bytes) {
        const ByteScale scale = scale_for(static_cast<double>(std::max(total_, done_)));
        line += fmt::format("{:.1f}", static_cast<double>(done_) / scale.divisor);
        if (total_ > 0) line += fmt::format("/{:.1f}", static_cast<double>(total_) / scale.divisor);
        line += fmt::format(" {}  {}/s", scale.unit, format_bytes(rate));
    } else {
        line += total_ > 0 ? fmt::format("{}/{} {}", done_, total_, unit_) : fmt::format("{} {}", done_, unit_);
        line += fmt::format("  {:.{}f}/s", rate, rate < 10 ? 2 : 0);
    }
    if (last)
        line += fmt::format("  in {}", format_duration(seconds));
    else if (total_ > done_ && rate > 0)
        line += fmt::format("  {} left", format_duration(static_cast<double>(total_ - done_) / rate));
    if (!note_.empty()) line += "  " + note_;
    if (terminal_)
        fmt::print(out_, "\r{}\x1b[K{}", fitted(line, columns_of(out_) - 1), last ? "\n" : "");
    else
        fmt::print(out_, "{}\n", line);
    std::fflush(out_);
    open_ = terminal_ && !last;
}

}  // namespace wavllm
