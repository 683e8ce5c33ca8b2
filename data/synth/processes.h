#pragma once
// Work on numbered items, each in a process of its own.

#include <cstdint>
#include <functional>
#include <string>

namespace wavllm {

struct ProcessWork {
    int jobs = 1;
    /// Whether item i is to be done. Asked in order of i; after a no it is asked again when a running item has ended,
    /// and a no while none runs ends the job.
    std::function<bool(int64_t i)> next;
    /// Runs in the child; returns one number. An exception ends the whole job with its message.
    std::function<int64_t(int64_t i)> work;
    /// Runs in the parent when an item is done; in the order in which they end.
    std::function<void(int64_t i, int64_t result)> done;
    /// Names an item, for messages.
    std::function<std::string(int64_t i)> name;
};

/// Forks a child for each item, at most `jobs` at a time. A child inherits the memory of the parent as it is and changes
/// nothing there, so that libraries with hidden state give each item the same result, whatever was done before and
/// however many run at once; and a library that crashes takes one child with it. A fork takes about a millisecond.
/// Throws Error with the child's message, or the signal it died of and the item's name; children still running are then
/// ended first.
void run_in_processes(const ProcessWork& work);

}  // namespace wavllm
