#pragma once
// How far a long job is: one bar on a terminal, plain lines elsewhere.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace wavllm {

/// Prints the state of one job to stderr, with its rate and the time left:
///
///     download [#########-----------]  45 %  66.1/145.2 MB  5.3 MB/s  0:15 left  whisper-base
///
/// On a terminal the line is redrawn about ten times a second; elsewhere (a file, a pipe) a plain line comes at most
/// every five seconds. Only one bar should be live at a time. Not thread-safe.
class Progress {
public:
    /// unit: "B" for bytes (shown as kB, MB, GB), else the plural of what is counted ("steps", "clips"). total: how
    /// many there will be; 0 where that is not known. out: for tests.
    Progress(std::string title, int64_t total, std::string unit, std::FILE* out = stderr);
    /// Ends the line if finish() was not called (an exception goes by).
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// `done` counts from the start of the job, note (a loss, a file name) stands at the end of the line. Cheap enough
    /// to be called thousands of times a second.
    void update(int64_t done, std::string_view note = {});
    /// The total became known or changed.
    void set_total(int64_t total) {
        total_ = total;
    }
    /// Work that was done before this process came (a resumed run, a partial download): it does not count for the rate.
    void resume_at(int64_t done) {
        first_ = done;
    }
    /// The last line, with the time it took. Nothing is printed where update() never was called.
    void finish(std::string_view note = {});

private:
    using Clock = std::chrono::steady_clock;
    void print(bool last);

    std::string title_, unit_, note_;
    int64_t total_, done_ = 0, first_ = 0;
    std::FILE* out_;
    bool terminal_, started_ = false, open_ = false;
    Clock::time_point begin_, printed_;
};

/// "0:07", "12:30", "3:05:00".
std::string format_duration(double seconds);
/// "98.4 MB": decimal multiples, three digits or so.
std::string format_bytes(double bytes);

}  // namespace wavllm
