// Witness: SmolLM2, Whisper base and three tokenizers as PyTorch ran them (shared/golden/README.md, "real/").

#include "tests/golden/support.h"

using namespace wavllm::tests;

TEST_CASE("golden: real tokenizers") {
    check_passed(verify_only(shared("golden/real"), "tokenizers.json"), 0);
}

TEST_CASE("golden: SmolLM2-135M logits, greedy tokens and texts") {
    check_passed(verify_only(shared("golden/real"), "smollm2."), 0);
}

TEST_CASE("golden: Whisper base mel, encoder and transcript of one clip") {
    check_passed(verify_only(shared("golden/real"), "c2."), 0);  // `wavllm verify` does all sixteen
}
