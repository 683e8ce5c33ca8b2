// wavllm bench: how fast this build is on this machine.

#include "wavllm/command.h"

namespace wavllm {

WAVLLM_COMMAND(bench, {"bench", "how fast this build is on this machine: single ops, fusions, a model, a training step",
                       "wavllm bench kernels --op rms_norm", [](cli::App& app) { return setup_parts("bench", app); }});

}  // namespace wavllm
