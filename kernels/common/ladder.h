#pragma once
// The ladder of an op: its CUDA body from naive to fast, for reading. A step is one more way to compute the op, so the op's
// own cases hold it to float64 (tests/ops/device_ladders_test.cpp) and time it: `wavllm bench kernels --ladder` shows what each
// step gains. An op registers its ladder in its own folder; nothing else lists it.
//
//     LADDER(softmax) {
//         ladder.step("naive", "a thread a row", [](Inputs in, const Params&) { ... });
//     }

#include "kernels/common/op_case.h"

namespace wavllm {

struct LadderStep {
    std::string name, idea;
    std::function<Tensor(Inputs, const Params&)> run;  ///< inputs on a device with CUDA bodies
    bool rounds = false;  ///< the factors of products to bf16: near the reference only if the inputs are bf16 already
};

struct Ladder {
    std::string op;
    std::vector<LadderStep> steps;
    /// Which of the op's cases the steps compute; all of them unless set.
    std::function<bool(const OpCase&)> takes = [](const OpCase&) { return true; };

    void step(std::string name, std::string idea, std::function<Tensor(Inputs, const Params&)> run,
              bool rounds = false) {
        steps.push_back({std::move(name), std::move(idea), std::move(run), rounds});
    }
};

/// All ladders by op; made on the first call.
const std::map<std::string, Ladder>& ladders();

namespace detail {
bool register_ladder(const char* op, void (*fill)(Ladder&));
}

}  // namespace wavllm

#define LADDER(op_name)                                                     \
    static void fill_ladder_##op_name(::wavllm::Ladder&);                   \
    [[maybe_unused]] static const bool ladder_registered_##op_name =        \
        ::wavllm::detail::register_ladder(#op_name, fill_ladder_##op_name); \
    static void fill_ladder_##op_name([[maybe_unused]] ::wavllm::Ladder& ladder)
