// wavllm pretrain: models of one's own, from recordings and texts.

#include "wavllm/command.h"

namespace wavllm {

WAVLLM_COMMAND(pretrain,
               {"pretrain", "train models of one's own from nothing: WavLM, LLaMA, Whisper; and probe an encoder",
                "wavllm pretrain wavlm --manifest samples/speech_train.tsv --steps 100 --out runs/wavlm",
                [](cli::App& app) { return setup_parts("pretrain", app); }});

}  // namespace wavllm
