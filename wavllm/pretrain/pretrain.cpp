// wavllm pretrain: models of one's own, from recordings alone.

#include "wavllm/command.h"

namespace wavllm {

WAVLLM_COMMAND(pretrain, {"pretrain", "train an encoder of one's own from nothing, and probe what it learned",
                          "wavllm pretrain wavlm --manifest samples/speech_train.tsv --steps 100 --out runs/wavlm",
                          [](CLI::App& app) { return setup_parts("pretrain", app); }});

}  // namespace wavllm
