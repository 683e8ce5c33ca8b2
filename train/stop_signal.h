#pragma once
#include <csignal>

namespace wavllm {

/// Ctrl-C and SIGTERM ask for a stop while this lives; a second one kills as usual.
class StopSignalScope {
public:
    StopSignalScope();
    ~StopSignalScope();
    StopSignalScope(const StopSignalScope&) = delete;
    StopSignalScope& operator=(const StopSignalScope&) = delete;

private:
    struct sigaction interrupt_ = {}, terminate_ = {};
};

/// Whether such a signal came: a run finishes its step, saves, and returns.
bool stop_requested();

}  // namespace wavllm
