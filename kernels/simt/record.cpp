#include "kernels/simt/record.h"

#include <cstring>
#include <memory>

namespace wavllm::simt {

namespace {

thread_local LaunchList* t_list = nullptr;

}  // namespace

void LaunchList::add(const LaunchShape& shape, const Call& call) {
    // Arguments are what CUDA copies byte by byte too: numbers, pointers, and structs of them.
    auto arguments = std::make_shared<std::vector<std::max_align_t>>((call.bytes + sizeof(std::max_align_t) - 1) /
                                                                     sizeof(std::max_align_t));
    std::memcpy(arguments->data(), call.arguments, call.bytes);
    work_.emplace_back([shape, call, arguments] {
        Call again = call;
        again.arguments = arguments->data();
        simt::run(shape, again);
    });
}

void LaunchList::add(std::function<void()> work) {
    work_.push_back(std::move(work));
}

void LaunchList::run() const {
    for (const auto& work : work_) work();
}

LaunchList* recording_to() {
    return t_list;
}

RecordTo::RecordTo(LaunchList& list) {
    t_list = &list;
}

RecordTo::~RecordTo() {
    t_list = nullptr;
}

}  // namespace wavllm::simt
