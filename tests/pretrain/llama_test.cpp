// Pre-training a LLaMA: the trained model is the one that Llama computes, it learns, and goes on after it was killed.
// Witnesses: Llama (which agrees with transformers, see tests/golden/) on the written folder; an uninterrupted run.

#include "train/pretrain/llama.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autograd/ops/linear.h"
#include "autograd/tape.h"
#include "data/tokenizer/bpe.h"
#include "data/tokenizer/bytes.h"
#include "kernels/common/check.h"
#include "models/llama/llama.h"
#include "tensor/thread_pool.h"
#include "tests/support/temp_folder.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

namespace fs = std::filesystem;

std::vector<std::string> sentences() {
    std::vector<std::string> all;
    for (const char* who : {"the cat", "a dog", "the bird", "one fish"})
        for (const char* does : {"sees", "hears", "finds"})
            for (const char* what : {"the cat", "a dog", "the bird", "one fish"})
                all.push_back(fmt::format("{} {} {}.", who, does, what));
    return all;
}

LlamaPretrainOptions toy_options(int64_t steps) {
    LlamaPretrainOptions o;
    o.text = "made by the test";
    o.batch_tokens = 128;
    o.hold_out = 10;
    o.run.steps = steps;
    o.run.warmup_steps = 3;
    o.run.rate = 3e-3;
    o.run.save_every = 2;
    o.run.validate_every = 0;
    return o;
}

struct Killed {};

void run_in(const fs::path& path, const LlamaPretrainOptions& options, int64_t kill_after = -1) {
    const PretrainFolder folder = fs::exists(path / "pretrain.json") ? PretrainFolder::open(path)
                                                                     : PretrainFolder::create(path, options.to_json());
    LlamaPretraining training(folder, LlamaPretrainOptions::from_json(folder.options(), "pretrain.json"), sentences());
    training.run([&](int64_t done, const nlohmann::ordered_json&) {
        if (done == kill_after) throw Killed();
    });
}

std::string files_of(const fs::path& path) {
    return read_all(path / "metrics.jsonl") + read_all(path / "model" / "model.safetensors");
}

}  // namespace

TEST_CASE("pretrain llama: what is written is what was trained") {
    const TempFolder folder;
    const PretrainFolder run = PretrainFolder::create(folder / "run", toy_options(2).to_json());
    LlamaPretraining training(run, toy_options(2), sentences());
    training.run();
    const auto checkpoint = open_checkpoint(run.model());
    const LlamaConfig config = llama_config(*checkpoint);
    CHECK(config.rope_layout == RopeLayout::half_split);
    const Weights weights(*checkpoint);
    const Llama llama = Llama::load(weights, config);
    weights.finish();
    const NoGrad no_grad;
    const Tensor ids = Tensor::from(std::vector<int32_t>{1, 99, 100, 45, 1, 80, 81}, {7});
    const std::vector<int64_t> lengths{4, 3};
    const Tensor borders = kernels::make_borders(lengths);
    const auto logits = linear(training.model().forward(ids, borders), training.model().embedding()).values();
    const LlamaPass pass{.borders = borders, .positions = LlamaPass::positions_for(borders)};
    const auto expected = llama.logits(llama.forward(llama.embed(ids), pass)).values();
    REQUIRE(logits.size() == expected.size());
    for (size_t i = 0; i < logits.size(); ++i) REQUIRE(std::abs(logits[i] - expected[i]) <= 1e-5);
}

// Witness: ByteTokenizer, which training used.
TEST_CASE("pretrain llama: its folder has a tokenizer, of bytes") {
    const TempFolder folder;
    const PretrainFolder run = PretrainFolder::create(folder / "run", toy_options(1).to_json());
    LlamaPretraining(run, toy_options(1), sentences()).run();
    const std::string file = (run.model() / "tokenizer.json").string();
    const auto read = make_bpe_tokenizer(hf_bpe_vocabulary(file, read_all(file)));
    const ByteTokenizer bytes(260);
    CHECK(read->vocab_size() == 259);
    CHECK(read->bos() == bytes.bos());
    CHECK(read->eos() == bytes.eos());
    const std::string text = "Zo\u00eb  said:\n\t\"1 + 1 = 2\" \u2026 <s>\u0001\x7f \U0001F600";
    CHECK(read->encode(text) == bytes.encode(text));
    CHECK(read->decode(bytes.encode(text)) == text);
    for (int32_t id = 3; id < 259; ++id) CHECK(read->token_bytes(id) == bytes.token_bytes(id));
}

TEST_CASE("pretrain llama: killed and resumed, or with other threads, it ends in the same files") {
    const TempFolder folder;
    const LlamaPretrainOptions options = toy_options(8);
    const int before = num_threads();
    set_num_threads(1);
    run_in(folder / "whole", options);
    set_num_threads(3);
    CHECK_THROWS_AS(run_in(folder / "killed", options, 5), Killed);
    run_in(folder / "killed", options);
    set_num_threads(before);
    CHECK(files_of(folder / "killed") == files_of(folder / "whole"));
    CHECK_THROWS_AS(LlamaPretraining(PretrainFolder::open(folder / "whole"), options, {std::string(300, 'x')}),
                    UsageError);
}

TEST_CASE("pretrain llama: learns its sentences") {
    const TempFolder folder;
    run_in(folder / "run", toy_options(60));
    std::vector<nlohmann::json> lines;
    std::ifstream in(folder / "run" / "metrics.jsonl");
    for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
    REQUIRE(lines.size() == 61);
    CHECK(lines[0].at("loss").get<double>() == doctest::Approx(std::log(260)).epsilon(0.02));  // knows nothing yet
    CHECK(lines[60].at("valid") == "sentences kept back");
    CHECK(lines[60].at("loss").get<double>() < 1.6);
}
