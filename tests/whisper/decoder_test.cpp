// Witness: Hugging Face's WhisperForConditionalGeneration in float64 (golden/hf_whisper): hidden states, logits and
// greedy tokens; and this decoder itself: alone against in a batch, at once against token by token.
#include "models/whisper/decoder.h"

#include "kernels/common/check.h"
#include "tensor/thread_pool.h"
#include "tests/support/temp_folder.h"
#include "tests/whisper/golden.h"
#include "tests/whisper/tiny.h"

using namespace wavllm;
using namespace wavllm::tests;

namespace {

Tensor borders_of_lengths(const std::vector<int64_t>& lengths) {
    return kernels::make_borders(lengths);
}

Tensor ids_of(const std::vector<int32_t>& ids) {
    return Tensor::from(ids, {static_cast<int64_t>(ids.size())});
}

/// The encoder's result for the golden features, cut to its first `mel_frames`.
Tensor encoded(int64_t mel_frames) {
    const Golden golden("hf_whisper.safetensors");
    const Tensor mel = transposed(golden["input_features"]).slice(0, 0, mel_frames);
    return golden_hf_whisper().encoder.forward(mel, borders_of_lengths({mel_frames}));
}

std::vector<int32_t> golden_ids() {
    std::vector<int32_t> ids;
    for (const double id : Golden("hf_whisper.safetensors")["ids"].values()) ids.push_back(static_cast<int32_t>(id));
    return ids;
}

int32_t argmax(const Tensor& logits, int64_t row) {
    const float* p = logits.data<float>() + row * logits.dim(1);
    return static_cast<int32_t>(std::max_element(p, p + logits.dim(1)) - p);
}

/// Hidden states of the last prompt token and of `steps` greedy ones after it, for each slot.
std::vector<std::vector<Tensor>> greedy(const std::vector<Tensor>& sources, int64_t steps, bool drop_first_halfway) {
    const WhisperDecoder& d = golden_hf_whisper().decoder;
    const auto n = static_cast<int64_t>(sources.size());
    WhisperCache cache(d.config(), n, 24, 120);
    std::vector<int64_t> slots;
    std::vector<int32_t> prompt;
    for (int64_t i = 0; i < n; ++i) {
        d.listen(cache, i, sources[static_cast<size_t>(i)]);
        slots.push_back(i);
        for (const int32_t id : {3, 7, 11, 5}) prompt.push_back(id);
    }
    const Tensor all =
        d.prefill(cache, slots, ids_of(prompt), borders_of_lengths(std::vector<int64_t>(slots.size(), 4)));
    std::vector<std::vector<Tensor>> hidden(sources.size());
    std::vector<int32_t> next;
    for (int64_t i = 0; i < n; ++i) {
        hidden[static_cast<size_t>(i)].push_back(all.slice(0, 4 * i + 3, 4 * i + 4).clone());
        next.push_back(argmax(d.logits(hidden[static_cast<size_t>(i)][0]), 0));
    }
    for (int64_t t = 0; t < steps; ++t) {
        if (drop_first_halfway && t == steps / 2) {
            slots.erase(slots.begin());
            next.erase(next.begin());
        }
        const Tensor h = d.step(cache, slots, ids_of(next));
        const Tensor logits = d.logits(h);
        for (size_t i = 0; i < slots.size(); ++i) {
            const auto row = static_cast<int64_t>(i);
            hidden[static_cast<size_t>(slots[i])].push_back(h.slice(0, row, row + 1).clone());
            next[i] = argmax(logits, row);
        }
    }
    return hidden;
}

}  // namespace

TEST_CASE("whisper decoder: hidden states and logits of Hugging Face's, all tokens at once") {
    const Golden golden("hf_whisper.safetensors");
    const WhisperDecoder& d = golden_hf_whisper().decoder;
    WhisperCache cache(d.config(), 1, 24, 120);
    d.listen(cache, 0, encoded(240));
    Seen seen;
    const int64_t slot[] = {0};
    const Tensor h = d.prefill(cache, slot, ids_of(golden_ids()), borders_of_lengths({24}), &seen.observer);
    golden.check("decoder_hidden0", seen["embedded"]);
    golden.check("decoder_hidden1", seen["layer0"]);
    golden.check("decoder_hidden2", seen["decoded"]);
    golden.check("logits", d.logits(h));
    CHECK(cache.tokens(0) == 24);
}

TEST_CASE("whisper decoder: Hugging Face's greedy tokens, step by step, with its hidden states") {
    const Golden golden("hf_whisper.safetensors");
    const std::vector<int32_t> ids = golden_ids();
    const auto hidden = greedy({encoded(240)}, 20, false)[0];
    Tensor last = Tensor::empty({21, 32});
    for (int64_t i = 0; i < 21; ++i)
        std::copy_n(hidden[static_cast<size_t>(i)].data<float>(), 32, last.mutable_data<float>() + 32 * i);
    const Tensor logits = golden_hf_whisper().decoder.logits(last);
    for (int64_t i = 0; i < 20; ++i) CHECK(argmax(logits, i) == ids[static_cast<size_t>(i) + 4]);
    const std::vector<double> expected = golden["decoder_hidden2"].slice(0, 3, 24).to_contiguous().values();
    CHECK(Golden::largest_difference(expected, last.values()) < 1e-5 * 3.708);
}

TEST_CASE("whisper decoder: a chunk's bits are the same alone, in a batch, and when others leave it") {
    const std::vector<Tensor> sources = {encoded(240), encoded(101), encoded(200)};
    const auto batch = greedy(sources, 16, true);
    for (size_t i = 0; i < sources.size(); ++i) {
        const auto alone = greedy({sources[i]}, 16, false)[0];
        CHECK(batch[i].size() == (i == 0 ? 9 : 17));
        for (size_t t = 0; t < batch[i].size(); ++t) {
            CAPTURE(i);
            CAPTURE(t);
            CHECK(same_bits(batch[i][t], alone[t]));
        }
    }
    CHECK_FALSE(same_bits(batch[0][0], batch[1][0]));  // they do hear different things
}

TEST_CASE("whisper decoder: a cache that is full, used twice or too large is an error") {
    const WhisperDecoder& d = golden_hf_whisper().decoder;
    CHECK_THROWS_WITH_AS(WhisperCache(d.config(), 1, 41, 120), doctest::Contains("40"), UsageError);
    WhisperCache cache(d.config(), 1, 4, 100);
    CHECK_THROWS_AS(d.listen(cache, 0, encoded(240)), ShapeError);
    d.listen(cache, 0, encoded(200));
    const int64_t slot[] = {0};
    d.prefill(cache, slot, ids_of({1, 2, 3, 4}), borders_of_lengths({4}));
    CHECK_THROWS_WITH(d.step(cache, slot, ids_of({5})), doctest::Contains("capacity is 4"));
    CHECK_THROWS_WITH(d.prefill(cache, slot, ids_of({5}), borders_of_lengths({1})), doctest::Contains("step()"));
    d.listen(cache, 0, encoded(200));  // starts anew
    CHECK(cache.tokens(0) == 0);
}

TEST_CASE("whisper: encoder and decoder give the same bits with 1, 2 and 3 threads") {
    const int before = num_threads();
    std::vector<std::vector<Tensor>> runs;
    for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        runs.push_back(greedy({encoded(240)}, 8, false)[0]);
    }
    set_num_threads(before);
    for (size_t t = 0; t < runs[0].size(); ++t) {
        CHECK(same_bits(runs[0][t], runs[1][t]));
        CHECK(same_bits(runs[0][t], runs[2][t]));
    }
}

TEST_CASE("whisper: a Hugging Face folder, and what is missing or left over in it") {
    const TempFolder folder;
    std::filesystem::create_symlink(std::filesystem::absolute(shared("golden/hf_whisper_weights.safetensors")),
                                    folder / "model.safetensors");
    CHECK_THROWS_WITH_AS(whisper_config(*open_checkpoint(folder.path())), doctest::Contains("config.json"), FileError);
    auto config = read_json_file(shared("golden/case.json"))["hf_configs"]["hf_whisper"];
    folder.write("config.json", config.dump());
    const auto checkpoint = open_checkpoint(folder.path());
    const WhisperConfig sizes = whisper_config(*checkpoint);
    CHECK(sizes.encoder_ffn == 72);
    CHECK(sizes.max_target_positions == 40);
    CHECK(Whisper::load(*checkpoint).config().vocab == 150);
    Whisper::load_encoder(*checkpoint, sizes);

    WhisperConfig wrong = sizes;
    wrong.encoder_layers = 3;
    CHECK_THROWS_WITH_AS(Whisper::load(*checkpoint, wrong), doctest::Contains("model.encoder.layers.2."), FileError);
    wrong = sizes;
    wrong.decoder_layers = 1;
    CHECK_THROWS_WITH_AS(Whisper::load(*checkpoint, wrong), doctest::Contains("left over"), FileError);
    wrong = sizes;
    wrong.decoder_ffn = 71;
    CHECK_THROWS_AS(Whisper::load(*checkpoint, wrong), ShapeError);
    config.erase("num_mel_bins");
    folder.write("config.json", config.dump());
    CHECK_THROWS_WITH_AS(whisper_config(*open_checkpoint(folder.path())), doctest::Contains("num_mel_bins"), FileError);
}
