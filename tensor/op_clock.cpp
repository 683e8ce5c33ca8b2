#include "tensor/op_clock.h"

#include <algorithm>

#include "tensor/error.h"

namespace wavllm {

thread_local constinit OpClock* OpClock::running_ = nullptr;

OpClock::Running::Running(OpClock& clock) {
    if (running_) throw Error("op clock: one runs on this thread already");
    running_ = &clock;
    clock.last_ = Clock::now();
}

OpClock::Running::~Running() {
    running_ = nullptr;
}

void OpClock::clear() {
    entries_.clear();
}

void OpClock::book(std::string_view op, Pass pass) {
    const Clock::time_point now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    // a few dozen names, nearly always the same literal: a walk is as quick as a hash
    auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.op == op; });
    if (entry == entries_.end()) entry = entries_.insert(entries_.end(), Entry{op});
    (pass == Pass::forward ? entry->forward : pass == Pass::backward ? entry->backward : entry->other) += seconds;
    entry->calls += pass != Pass::backward;
}

}  // namespace wavllm
