// A conversation with several clips. Witness: the whole conversation read at once, without a cache.

#include "infer/conversation.h"

#include <doctest/doctest.h>

#include "autograd/ops/rows.h"
#include "autograd/tape.h"
#include "infer/generate.h"
#include "kernels/common/check.h"
#include "tests/support/stage2_model.h"

using namespace wavllm;
using namespace wavllm::tests;

TEST_CASE("a conversation of three clips gives the answers of the whole conversation read at once") {
    const NoGrad no_grad;
    for (const int64_t hidden : {0, 8}) {  // a new prompt adapter has the same r in every turn
        const Wavllm model = stage2_model(hidden);
        auto turns = stage2_examples(3);
        turns[1].ids.left = {5, 6};  // later turns open no conversation
        turns[2].features = Tensor();
        turns[2].chunk_rows = {};  // the last one has no clip
        const AnswerOptions options{.max_new_tokens = 5};
        const NumberTokenizer tokenizer;
        SpeechConversation conversation(model, tokenizer, 128);
        std::vector<Tensor> so_far;
        for (size_t i = 0; i < turns.size(); ++i) {
            const Answer answer = conversation.say(turns[i], options);
            const SpeechExample* one[] = {&turns[i]};
            const LlmInput in = model.inputs(make_batch(one, false));
            so_far.push_back(in.x);
            const Tensor x = concat_rows(so_far);
            const int64_t rows[] = {x.dim(0)};
            const auto whole =
                generate_greedy(model.llama(), x, kernels::make_borders(rows),
                                {.max_new_tokens = 5, .eos = 2, .lora = &model.lora(), .run = model.stage1_run()});
            CHECK(answer.tokens == whole[0].tokens);
            CHECK(conversation.turns() == static_cast<int64_t>(i) + 1);
            CHECK(conversation.held() == x.dim(0) + std::ssize(answer.tokens) - 1);
            std::vector<int32_t> said = answer.tokens;
            if (said.back() != 2) said.push_back(2);
            so_far.push_back(model.llama().embed(Tensor::from(said, {std::ssize(said)})));
        }
        CHECK_THROWS_WITH_AS(conversation.say(turns[0], {.max_new_tokens = 100}), doctest::Contains("--context"),
                             UsageError);
    }
}

TEST_CASE("a conversation of one turn decodes as a single question does, as the released code too") {
    const Wavllm model = stage2_model(0);
    const NumberTokenizer tokenizer;
    const auto turns = stage2_examples(1);
    const SpeechExample* one[] = {turns.data()};
    AnswerOptions options{.max_new_tokens = 12};
    const auto plain = answer(model, tokenizer, one, options)[0].tokens;
    options.decoding = {.sampling = {.temperature = 3}, .begin_with_bos = true, .count_prompt = true};
    const auto released = answer(model, tokenizer, one, options)[0].tokens;
    CHECK(released != plain);
    CHECK(std::ssize(released) <= 12 - (std::ssize(turns[0].ids.right) - 1));
    CHECK(SpeechConversation(model, tokenizer, 128).say(turns[0], options).tokens == released);
    options.max_new_tokens = std::ssize(turns[0].ids.right) - 1;
    SpeechConversation conversation(model, tokenizer, 128);
    CHECK_THROWS_WITH_AS(conversation.say(turns[0], options), doctest::Contains("decode.count_prompt"), UsageError);
}
