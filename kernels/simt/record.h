#pragma once
// Graphs (tensor/graph.h) of the device `sim`: what would run is put into a list, and the list is run again and again.

#include <cstddef>
#include <functional>
#include <vector>

#include "kernels/simt/host/launch.h"

namespace wavllm::simt {

/// Launches, copies within the device and zeroed memory, in order.
class LaunchList {
public:
    void add(const LaunchShape& shape, const Call& call);
    void add(std::function<void()> work);
    void run() const;
    size_t size() const {
        return work_.size();
    }

private:
    std::vector<std::function<void()>> work_;
};

/// The list that launches of this thread go to instead of running, or null.
LaunchList* recording_to();
/// For a scope.
class RecordTo {
public:
    explicit RecordTo(LaunchList& list);
    ~RecordTo();
    RecordTo(const RecordTo&) = delete;
    RecordTo& operator=(const RecordTo&) = delete;
};

}  // namespace wavllm::simt
