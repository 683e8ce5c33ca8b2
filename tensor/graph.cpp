#include "tensor/graph.h"

#include <array>
#include <atomic>

#include "tensor/error.h"

namespace wavllm {

namespace {

RecordStep& recorder(Device device) {
    static std::array<RecordStep, kDevices> recorders{};
    return recorders[static_cast<size_t>(device)];
}

std::atomic<bool> now_capturing = false;

/// One at a time, whichever thread begins it.
struct Capturing {
    Capturing() {
        if (now_capturing.exchange(true)) throw Error("a graph is being captured already; one at a time");
    }
    ~Capturing() {
        now_capturing = false;
    }
    Capturing(const Capturing&) = delete;
    Capturing& operator=(const Capturing&) = delete;
};

}  // namespace

bool capturing() {
    return now_capturing;
}

void expect_no_capture(std::string_view what) {
    if (capturing())
        throw Error(
            "{} cannot be part of a captured graph: it would not happen again when the graph runs; do it before the "
            "capture, and keep on the device what changes from step to step (tensor/graph.h)",
            what);
}

void register_graphs(Device device, RecordStep record) {
    recorder(device) = record;
}

Graph Graph::capture(Device device, const std::function<void()>& step) {
    if (device != Device::cpu) require_available(device);
    if (recorder(device) == nullptr)
        throw UsageError("device {} has no graphs; run the step itself each time", name(device));
    const Capturing scope;
    Graph graph;
    graph.recorded_ = recorder(device)(step);
    return graph;
}

void Graph::launch() const {
    if (!recorded_) throw Error("an empty graph was launched: Graph::capture makes one");
    expect_no_capture("the launch of another graph");
    recorded_->launch();
}

}  // namespace wavllm
