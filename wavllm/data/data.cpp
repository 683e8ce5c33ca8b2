// wavllm data: training data, made and checked.

#include "wavllm/command.h"

namespace wavllm {

WAVLLM_COMMAND(data,
               {"data", "training data: speech from text, altered copies of recordings, splits, and their check",
                "wavllm data synth --digits 20 --out synth", [](cli::App& app) { return setup_parts("data", app); }});

}  // namespace wavllm
