#include "kernels/common/ladder.h"

namespace wavllm {

namespace {

std::map<std::string, void (*)(Ladder&)>& registrations() {
    static auto* r = new std::map<std::string, void (*)(Ladder&)>;
    return *r;
}

}  // namespace

const std::map<std::string, Ladder>& ladders() {
    static const auto* all = [] {
        auto* made = new std::map<std::string, Ladder>;
        for (const auto& [op, fill] : registrations()) {
            Ladder& ladder = (*made)[op];
            ladder.op = op;
            fill(ladder);
        }
        return made;
    }();
    return *all;
}

bool detail::register_ladder(const char* op, void (*fill)(Ladder&)) {
    registrations()[op] = fill;
    return true;
}

}  // namespace wavllm
