#pragma once
#include "tensor/error.h"
#include "wavllm/command.h"

namespace wavllm {

/// Options of the command's own, beside --out and --resume, that were given. A resumed run has them in pretrain.json; throws
/// UsageError, since they would have no effect.
inline void refuse_beside_resume(const CLI::App& app) {
    for (const CLI::Option* option : app.get_options())
        if (const std::string name = option->get_name(); option->count() > 0 && name != "--out" && name != "--resume")
            throw UsageError("pretrain {}: a resumed run has its options in pretrain.json; leave {} out",
                             app.get_name(), name);
}

}  // namespace wavllm
